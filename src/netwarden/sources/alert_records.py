"""Alerts as flat records of plain values, and the cursor of a page: the same in every store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import count
from typing import Any

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import Alert
from netwarden.sources.alert_store import NOVEL, AlertGroup, AlertPage, GroupPage, Suppression, TimeBin, TriageAct
from netwarden.sources.alert_words import address_key, words_of
from netwarden.sources.filters import (
    ADDRESSES,
    FIELDS,
    AllOf,
    Condition,
    Range,
    Where,
    conditions,
    dump,
    load,
    meets,
    moment,
    plain,
)

ACT_FIELDS = tuple(field.name for field in fields(TriageAct))
_TIMES = ("raised_at", "started_at", "withdrawn_at")
# What the alert of a final record changes in an early one: all but its id, when it was raised, and what was decided.
_KEPT = ("alert_id", "raised_at", "state", "suppressed_by")
CONFIRMED = (*(name for name in FIELDS if name not in _KEPT), "features", "words", "source_key", "target_key")
GROUP_FIELDS = ("source", "target", "family", "verdict")
# Alerts that are alike in these are counted together: a cell. Any filter on them alone is answered from cells.
CELL_FIELDS = (*GROUP_FIELDS, "state", "suppressed_by", "sensor", "protocol")
SPAN_FIELDS = ("family", "verdict", "state", "suppressed_by")  # counted for each minute and each hour
SPANS_S = (60, 3600)
NEWEST = 20_000  # matches that are grouped or counted over time where no kept count tells
LATE_RECORDS_S = 86_400  # how long a store remembers whose early alerts were withdrawn

AFTER_ALL = "~"  # larger than the id of any decision or suppression, which begin with their year

_SECOND_US = 1_000_000
_CURSOR = re.compile(r"(-?\d{1,18})~(.+)")


def to_record(alert: Alert) -> dict[str, Any]:
    """Field → plain value, times in microseconds, features as JSON text, and what it is found by."""
    record: dict[str, Any] = {name: value for name, value in alert if name != "features"}
    record |= {name: plain(record[name]) for name in _TIMES}
    return {**record, "features": json.dumps(alert.features), **found_by(record, alert.features)}


def found_by(record: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Words of a record, and its addresses in a form that sorts."""
    keys = {f"{name}_key": address_key(record[name]) if record[name] is not None else None for name in ADDRESSES}
    return {**keys, "words": words_of(record, features)}


def from_record(record: Mapping[str, Any]) -> Alert:
    """The alert of a record."""
    known = {name: record[name] for name in FIELDS}
    for name in _TIMES:
        if known[name] is not None:
            known[name] = moment(known[name])
    return Alert(**known, features=json.loads(record["features"]))


def page(records: Sequence[Mapping[str, Any]], limit: int) -> AlertPage:
    """A page from up to limit + 1 records: the one too many only says that there are more."""
    shown = records[:limit]
    more = len(records) > limit and bool(shown)
    cursor = f"{shown[-1]['raised_at']}~{shown[-1]['alert_id']}" if more else None
    return AlertPage([from_record(record) for record in shown], cursor)


def read_cursor(cursor: str) -> tuple[int, str]:
    """Time in microseconds and id of the last alert shown. Raises InputError."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InputError(f"page cursor {cursor!r} is not one that a page of alerts gave; start from the first page")
    return int(match[1]), match[2]


def act_record(act: TriageAct) -> dict[str, Any]:
    """Field → plain value, the time in microseconds."""
    return {name: plain(getattr(act, name)) for name in ACT_FIELDS}


def act_of(record: Mapping[str, Any]) -> TriageAct:
    """The act of a record."""
    known = {name: record[name] for name in ACT_FIELDS}
    return TriageAct(**{**known, "at": moment(known["at"])})


def cell_key(record: Mapping[str, Any], names: Sequence[str] = CELL_FIELDS) -> str:
    """One text for values of fields."""
    return json.dumps([record[name] for name in names], ensure_ascii=False, separators=(",", ":"))


def group_of(record: Mapping[str, Any]) -> AlertGroup:
    """A group of a record with its sums, times in microseconds."""
    names = (*GROUP_FIELDS, "count", "worst", "newest")
    return AlertGroup(**{x: record[x] for x in names}, first=moment(record["first"]), last=moment(record["last"]))


def group_page(records: list[dict[str, Any]], limit: int, partial: bool = False) -> GroupPage:
    """A page from up to limit + 1 records: the one too many only says that there are more."""
    more = len(records) > limit > 0
    cursor = f"{records[limit - 1]['last']}~{records[limit - 1]['group_key']}" if more else None
    return GroupPage([group_of(record) for record in records[:limit]], cursor, partial)


def loudest_fields(by_source: bool) -> tuple[str, ...]:
    """What alerts of a group have in common, where groups are listed by their size."""
    return tuple(name for name in GROUP_FIELDS if name != "target" or not by_source)


def suppression_record(suppression: Suppression) -> dict[str, Any]:
    """Field → plain value, the filter as JSON text; without the count of what is hidden, which cells know."""
    names = [field.name for field in fields(Suppression) if field.name not in ("where", "hidden")]
    return {**{name: plain(getattr(suppression, name)) for name in names}, "where": json.dumps(dump(suppression.where))}


def suppression_of(record: Mapping[str, Any], hidden: int) -> Suppression:
    """The suppression of a record."""
    known = {field.name: record[field.name] for field in fields(Suppression) if field.name != "hidden"}
    for name in ("created_at", "expires_at", "lifted_at"):
        known[name] = None if known[name] is None else moment(known[name])
    return Suppression(**{**known, "where": load(json.loads(known["where"])), "hidden": hidden})


@dataclass(frozen=True)
class Hiding:
    """Which suppression hides a record, of those that nobody lifted: the oldest that fits. Each ends as it expires."""

    rules: tuple[tuple[str, tuple[Condition, ...]], ...] = ()

    @classmethod
    def of(cls, suppressions: Iterable[Suppression]) -> Hiding:
        """The rules of those that nobody lifted."""
        standing = sorted((one for one in suppressions if one.lifted_at is None), key=lambda one: one.suppression_id)
        return cls(tuple((one.suppression_id, tuple(conditions(hides(one)))) for one in standing))

    def by(self, record: Mapping[str, Any]) -> str | None:
        """Id of the suppression; None where none fits."""
        return next((name for name, wanted in self.rules if meets(record, wanted)), None)


def hides(suppression: Suppression) -> Where:
    """The filter of a suppression with its end: what is raised later is not hidden."""
    raised = [suppression.where[name] for name in ("raised_at",) if name in suppression.where]
    until = [Range(below=suppression.expires_at)] if suppression.expires_at else []
    return {**suppression.where, **({"raised_at": AllOf((*raised, *until))} if until else {})}


def no_such_act(act_id: str | None) -> NotFoundError:
    return NotFoundError(f"no act of triage {act_id!r}; was its id cut short?")


def no_such_suppression(suppression_id: str) -> NotFoundError:
    return NotFoundError(f"no suppression {suppression_id!r}; was its id cut short?")


def no_such_alert(alert_id: str) -> NotFoundError:
    return NotFoundError(f"no alert {alert_id!r}; was its id cut short?")


@dataclass(frozen=True)
class Axis:
    """Equal spans of whole minutes."""

    start_s: int
    span_s: int
    bins: int

    @property
    def end_s(self) -> int:
        return self.start_s + self.bins * self.span_s

    @classmethod
    def over(cls, since_us: int, until_us: int, bins: int) -> Axis:
        """At most `bins` spans that hold all from the first time up to, not including, the second.

        Longer than an hour they are whole hours: fewer counts are read.
        """
        since_s, until_s = since_us // _SECOND_US, max(since_us // _SECOND_US + 1, -(-until_us // _SECOND_US))
        unit_s = SPANS_S[1] if until_s - since_s > bins * SPANS_S[1] else SPANS_S[0]
        least_s = -(-(until_s - since_s) // bins)
        for span_s in count(max(unit_s, least_s // unit_s * unit_s), unit_s):
            start_s = since_s // span_s * span_s
            needed = -(-(until_s - start_s) // span_s)
            if needed <= bins:
                return cls(start_s, span_s, needed)
        raise AssertionError  # unreachable: spans grow

    def filled(self, found: Iterable[tuple[int, str, int]], partial_before: int | None = None) -> list[TimeBin]:
        """A bin for each span, from (place, family or empty text, number); those up to `partial_before` are partial."""
        counts: list[dict[str, int]] = [{} for _ in range(self.bins)]
        for place, family, number in found:
            counts[place][family or NOVEL] = number
        return [
            TimeBin(
                datetime.fromtimestamp(self.start_s + place * self.span_s, UTC),
                self.span_s,
                counts[place],
                partial_before is not None and place <= partial_before,
            )
            for place in range(self.bins)
        ]
