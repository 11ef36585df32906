"""Which alerts to find: conditions on their fields, checked before any store sees them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from netwarden.errors import InputError
from netwarden.flows.alert import Alert
from netwarden.sources.alert_words import address_key, words_asked

Value = str | float | int | bool | datetime | None
Plain = str | float | int | bool | None


@dataclass(frozen=True)
class Range:
    """Values from `at_least` up to, not including, `below`; None leaves a side open. Null never matches."""

    at_least: Value = None
    below: Value = None


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Networks:
    """Addresses in any of these networks (`10.0.0.0/8`); with `outside`, known addresses in none of them."""

    networks: tuple[str, ...]
    outside: bool = False


@dataclass(frozen=True)
class Words:
    """Alerts that hold all of these words anywhere, whatever their case; `web*` stands for each that begins so."""

    text: str


@dataclass(frozen=True)
class AllOf:
    """All of these, of one field."""

    wanted: tuple[Value | Range | OneOf | Networks, ...]


Wanted = Value | Range | OneOf | Networks | Words | AllOf
Where = Mapping[str, Wanted]
Operator = Literal["equal", "at_least", "below", "one_of", "within", "outside", "words"]

FIELDS = tuple(name for name in Alert.model_fields if name != "features")  # what alerts can be found by
TEXT = "text"  # and all of them at once, by words
ADDRESSES = ("source", "target")
SHOWN: Where = {"suppressed_by": None}  # what no suppression hides


@dataclass(frozen=True)
class Condition:
    """One comparison on plain values (times in microseconds); a store translates it.

    One value, but for one_of, words, and for within and outside, which have bounds of keys of addresses in pairs.
    """

    field: str
    operator: Operator
    values: tuple[Plain, ...]


def conditions(where: Where | None) -> list[Condition]:
    """What an alert must meet, all of it. Raises InputError naming a field that is not there or a value of no use."""
    found: list[Condition] = []
    for field, wanted in (where or {}).items():
        if field not in (*FIELDS, TEXT):
            raise InputError(f"alerts have no field {field!r} to find them by; there are: {', '.join(FIELDS)}, {TEXT}")
        found += _of_field(field, wanted)
    return found


def plain(value: Value) -> Plain:
    """A value as stores keep it: times as microseconds since 1970, UTC, since not every store holds them exactly."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InputError(f"time {value.isoformat()} names no zone; add one, such as +00:00")
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(microseconds: int) -> datetime:
    """The time that `plain` made a number of."""
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)


def meets(record: Mapping[str, Any], wanted: Sequence[Condition]) -> bool:
    """Whether a record (alert_records) meets all conditions, as a store would say."""
    return all(_meets(record, condition) for condition in wanted)


def dump(where: Where) -> list[list[Any]]:
    """A filter as JSON can hold it."""
    return [[name, *_dumped(wanted)] for name, wanted in where.items()]


def load(facts: Sequence[Sequence[Any]]) -> dict[str, Wanted]:
    """The filter that `dump` made these facts of."""
    return {name: _loaded(kind, value) for name, kind, value in facts}


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of_field(field: str, wanted: Wanted) -> list[Condition]:
    if isinstance(wanted, AllOf):
        return [condition for each in wanted.wanted for condition in _of_field(field, each)]
    if isinstance(wanted, Words) or field == TEXT:
        return [_words(field, wanted)]
    if isinstance(wanted, Networks):
        return [_of_networks(field, wanted)]
    if isinstance(wanted, Range):
        sides: list[tuple[Operator, Value]] = [("at_least", wanted.at_least), ("below", wanted.below)]
        return [Condition(field, side, _checked(field, [value])) for side, value in sides if value is not None]
    if isinstance(wanted, OneOf):
        return [Condition(field, "one_of", _checked(field, wanted.values))]
    return [Condition(field, "equal", _checked(field, [wanted]))]


def _words(field: str, wanted: Wanted) -> Condition:
    if not isinstance(wanted, Words) or field != TEXT:
        raise InputError(f"alert field {field!r} cannot be {wanted!r}; words are looked for under {TEXT!r}")
    words = words_asked(wanted.text)
    if not words:
        raise InputError(f"{wanted.text!r} holds no word to look for; letters, digits, addresses and names are")
    return Condition(TEXT, "words", words)


def _of_networks(field: str, wanted: Networks) -> Condition:
    if field not in ADDRESSES:
        raise InputError(f"alert field {field!r} holds no addresses; {' and '.join(ADDRESSES)} do")
    bounds = tuple(bound for network in wanted.networks for bound in network_bounds(network))
    return Condition(field, "outside" if wanted.outside else "within", bounds)


def network_bounds(network: str) -> tuple[str, str]:
    """The least and the greatest key of a network's addresses. Raises InputError."""
    try:
        known = ipaddress.ip_network(network.strip(), strict=False)
    except ValueError:
        raise InputError(f"{network!r} is not a network; write it as 10.0.0.0/8 or 2001:db8::/32") from None
    return address_key(str(known[0])), address_key(str(known[-1]))


def _checked(field: str, values: Sequence[Value]) -> tuple[Plain, ...]:
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


def _meets(record: Mapping[str, Any], condition: Condition) -> bool:
    values = condition.values
    if condition.operator == "words":
        return _holds(record["words"].split(), values)
    if condition.operator in ("within", "outside"):
        key = record[f"{condition.field}_key"]
        inside = any(low <= key <= high for low, high in pairs(values)) if key is not None else None
        return inside is (condition.operator == "within")
    value = record[condition.field]
    if condition.operator in ("equal", "one_of"):
        return value in values
    return value is not None and (value >= values[0] if condition.operator == "at_least" else value < values[0])


def pairs(bounds: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Bounds of networks, two by two."""
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def _holds(words: Sequence[str], asked: Sequence[Any]) -> bool:
    known = set(words)
    return all(
        any(word.startswith(each[:-1]) for word in known) if each.endswith("*") else each in known for each in asked
    )


def _dumped(wanted: Wanted) -> tuple[str, Any]:
    if isinstance(wanted, Range):
        return "range", [_dumped(wanted.at_least), _dumped(wanted.below)]
    if isinstance(wanted, OneOf):
        return "one_of", [_dumped(value) for value in wanted.values]
    if isinstance(wanted, Networks):
        return ("outside" if wanted.outside else "within"), list(wanted.networks)
    if isinstance(wanted, Words):
        return "words", wanted.text
    if isinstance(wanted, AllOf):
        return "all_of", [_dumped(each) for each in wanted.wanted]
    return ("time", wanted.isoformat()) if isinstance(wanted, datetime) else ("value", wanted)


def _loaded(kind: str, value: Any) -> Any:
    if kind == "range":
        return Range(*(_loaded(*side) for side in value))
    if kind == "one_of":
        return OneOf(tuple(_loaded(*each) for each in value))
    if kind in ("within", "outside"):
        return Networks(tuple(value), outside=kind == "outside")
    if kind == "words":
        return Words(value)
    if kind == "all_of":
        return AllOf(tuple(_loaded(*each) for each in value))
    return datetime.fromisoformat(value) if kind == "time" else value
