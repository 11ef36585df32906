"""Alerts that were kept for as long as the settings say, forgotten a piece at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from netwarden.flows.alert import TRIAGE_STATES
from netwarden.sections import RetentionSettings
from netwarden.sources.alert_store import AlertStore
from netwarden.sources.filters import SHOWN, Range, Where

_PIECE = 1000
_ANY_ID = Range(at_least="0")  # of a suppression: ids begin with the year


def forget_old_alerts(
    store: AlertStore,
    settings: RetentionSettings,
    now: datetime,
    most_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, int]:
    """Kind of alert → how many were forgotten; ends after `most_s`, and goes on when it is called again."""
    until_s = clock() + most_s
    removed: dict[str, int] = {}
    for kind, where in _outlived(settings, now):
        while clock() < until_s:
            gone = store.remove(where, _PIECE)
            if gone:
                removed[kind] = removed.get(kind, 0) + gone
            if gone < _PIECE:
                break
    return removed


def _outlived(settings: RetentionSettings, now: datetime) -> Iterator[tuple[str, Where]]:
    """Kinds of alerts with a bound to their age, and which of them are older."""
    for state in TRIAGE_STATES:
        days = getattr(settings, f"{state}_days")
        if days:
            yield state, {"state": state, **SHOWN, "raised_at": Range(below=now - timedelta(days=days))}
    if settings.suppressed_days:
        old = Range(below=now - timedelta(days=settings.suppressed_days))
        yield "suppressed", {"suppressed_by": _ANY_ID, "raised_at": old}
