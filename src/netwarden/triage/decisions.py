"""Decisions on alerts: on one or on all that a filter finds, each on the audit trail, each to be undone."""

from __future__ import annotations

import secrets
from datetime import datetime

from netwarden.flows.alert import TriageState
from netwarden.sources.filters import Where
from netwarden.sources.store import AlertStore, TriageAct


def decide(
    store: AlertStore,
    where: Where | None,
    state: TriageState,
    *,
    who: str,
    at: datetime,
    chosen: str,
    note: str = "",
) -> TriageAct:
    """Put all alerts that meet every condition of `where` into a state; `chosen` tells people which those are."""
    return store.triage(TriageAct(_id(at), at, who, state, note, chosen), where)


def take_back(store: AlertStore, act_id: str, *, who: str, at: datetime) -> TriageAct:
    """Undo an act, except for alerts that were changed since. Raises NotFoundError where there is none."""
    return store.undo(TriageAct(_id(at), at, who, None, undoes=act_id))


def _id(at: datetime) -> str:
    """Larger for later acts, unlike any other."""
    return f"{at:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"
