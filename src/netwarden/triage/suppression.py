"""Hiding alerts on purpose: by any filter, with an owner and a reason, for a while or until lifted."""

from __future__ import annotations

import secrets
from datetime import datetime

from netwarden.errors import InputError
from netwarden.sources.alert_store import AlertStore, Suppression
from netwarden.sources.filters import Where


def hide(
    store: AlertStore,
    where: Where,
    *,
    owner: str,
    reason: str,
    at: datetime,
    expires_at: datetime | None = None,
    chosen: str = "",
) -> Suppression:
    """Hide all alerts that meet `where`, those there are and those to come; `chosen` tells people which those are.

    Raises InputError where nothing is chosen, which would hide everything, or where it expires before it begins.
    """
    if not where:
        raise InputError(
            "a suppression without a filter would hide every alert; name a source, a family or another part"
        )
    if expires_at is not None and expires_at <= at:
        raise InputError(
            f"a suppression that expires at {expires_at.isoformat()} would hide nothing; name a later time"
        )
    suppression_id = f"{at:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"
    return store.suppress(Suppression(suppression_id, owner, reason.strip(), at, expires_at, where, chosen))
