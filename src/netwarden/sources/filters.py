"""Which alerts to find: equality, range or one of several values per field, checked before any store sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from netwarden.errors import InputError
from netwarden.flows.alert import Alert

Value = str | float | int | bool | datetime | None


@dataclass(frozen=True)
class Range:
    """Values from `at_least` up to, not including, `below`; None leaves a side open. Null never matches."""

    at_least: Value = None
    below: Value = None


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Value, ...]


Where = Mapping[str, Value | Range | OneOf]
Operator = Literal["equal", "at_least", "below", "one_of"]

FIELDS = tuple(name for name in Alert.model_fields if name != "features")  # what alerts can be found by


@dataclass(frozen=True)
class Condition:
    """One comparison on plain values (times in microseconds); a store translates it. One value, but for one_of."""

    field: str
    operator: Operator
    values: tuple[str | float | int | bool | None, ...]


def conditions(where: Where | None) -> list[Condition]:
    """What an alert must meet, all of it. Raises InputError naming a field that is not there or a value of no use."""
    found: list[Condition] = []
    for field, wanted in (where or {}).items():
        if field not in FIELDS:
            raise InputError(f"alerts have no field {field!r} to find them by; there are: {', '.join(FIELDS)}")
        found += _of_field(field, wanted)
    return found


def plain(value: Value) -> str | float | int | bool | None:
    """A value as stores keep it: times as microseconds since 1970, UTC, since not every store holds them exactly."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InputError(f"time {value.isoformat()} names no zone; add one, such as +00:00")
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of_field(field: str, wanted: Value | Range | OneOf) -> list[Condition]:
    if isinstance(wanted, Range):
        sides: list[tuple[Operator, Value]] = [("at_least", wanted.at_least), ("below", wanted.below)]
        return [Condition(field, side, _checked(field, [value])) for side, value in sides if value is not None]
    if isinstance(wanted, OneOf):
        return [Condition(field, "one_of", _checked(field, wanted.values))]
    return [Condition(field, "equal", _checked(field, [wanted]))]


def _checked(field: str, values: list[Value] | tuple[Value, ...]) -> tuple[str | float | int | bool | None, ...]:
    kinds = _kinds(field)
    for value in values:
        if value is not None and not isinstance(value, kinds):
            raise InputError(f"alert field {field!r} cannot be {value!r}; it holds {kinds[0].__name__}")
    return tuple(plain(value) for value in values)


def _kinds(field: str) -> tuple[type, ...]:
    """Python types that a field's values may have, the one to name first."""
    annotation = Alert.model_fields[field].annotation
    parts = [part for part in (get_args(annotation) or (annotation,)) if part is not type(None)]
    if not isinstance(parts[0], type):
        parts = [type(parts[0])]  # a Literal's values
    return (float, int) if parts[0] is float else (parts[0],)
