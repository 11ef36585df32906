"""Alerts as flat records of plain values, and the cursor of a page: the same in every store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import Alert
from netwarden.sources.filters import FIELDS, plain
from netwarden.sources.store import AlertPage, TriageAct

ACT_FIELDS = tuple(field.name for field in fields(TriageAct))
_TIMES = ("raised_at", "started_at", "withdrawn_at")
# What the alert of a final record changes in an early one: all but its id, when it was raised, and triage.
CONFIRMED = (*(name for name in FIELDS if name not in ("alert_id", "raised_at", "state")), "features")
LATE_RECORDS_S = 86_400  # how long a store remembers whose early alerts were withdrawn

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"(-?\d{1,18})~(.+)")


def to_record(alert: Alert) -> dict[str, Any]:
    """Field → plain value, times in microseconds, features as JSON text."""
    return {**{name: plain(getattr(alert, name)) for name in FIELDS}, "features": json.dumps(alert.features)}


def from_record(record: Mapping[str, Any]) -> Alert:
    """The alert of a record."""
    known = {name: record[name] for name in FIELDS}
    for name in _TIMES:
        if known[name] is not None:
            known[name] = _EPOCH + timedelta(microseconds=known[name])
    return Alert(**known, features=json.loads(record["features"]))


def page(records: list[Mapping[str, Any]], limit: int) -> AlertPage:
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
    return TriageAct(**{**known, "at": _EPOCH + timedelta(microseconds=known["at"])})


def no_such_act(act_id: str | None) -> NotFoundError:
    return NotFoundError(f"no act of triage {act_id!r}; was its id cut short?")


def no_such_alert(alert_id: str) -> NotFoundError:
    return NotFoundError(f"no alert {alert_id!r}; was its id cut short?")
