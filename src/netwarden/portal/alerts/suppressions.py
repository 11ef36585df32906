"""Suppressions: what hides alerts, for whom, why and how long; pages and API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from netwarden.flows.alert import Alert
from netwarden.portal.access.audit import record
from netwarden.portal.access.people import needs
from netwarden.portal.alerts.details import counted
from netwarden.portal.alerts.pages import came_from, remembered_name
from netwarden.portal.alerts.query import AlertFilter
from netwarden.portal.alerts.sums import Filter
from netwarden.portal.alerts.triage import Name, asking_name, in_words, remembering
from netwarden.portal.paging import Limit, Next, TimeCursor, page_of
from netwarden.portal.reference import faults
from netwarden.sources.alert_store import AlertStore, Suppression
from netwarden.triage.suppression import hide

router = APIRouter()
# An empty field of a form means the same as null.
Days = Annotated[
    Annotated[float, Field(gt=0, le=36_500)] | None, BeforeValidator(lambda value: None if value == "" else value)
]
# What one may choose of an alert, the first two at once: the machine that is known to do such things.
_SHOWN = 100  # suppressions that a page shows
_OFFERED = ("source", "family", "target", "port", "verdict", "sensor")


class Hides(BaseModel):
    """Why, for how long, and on whose account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"reason": "our own scanner", "days": 7, "who": "ada"}},
    )
    reason: str = Field(min_length=1, max_length=2000)
    days: Days = Field(None, description="Until it expires; null: until it is lifted")
    who: str = Field("", max_length=100, description="Its owner, where there are no accounts")


class Hidden(BaseModel):
    """A suppression."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "suppression_id": "20261121T101500.000000-5f0c2a91",
                "owner": "ada",
                "reason": "our own scanner",
                "created_at": "2026-11-21T10:15:00Z",
                "expires_at": "2026-11-28T10:15:00Z",
                "chosen": "source 10.0.0.3, family probe",
                "lifted_at": None,
                "lifted_by": "",
                "hidden": 412,
                "active": True,
            }
        },
    )
    suppression_id: str
    owner: str
    reason: str
    created_at: datetime
    expires_at: datetime | None
    chosen: str = Field(description="Which alerts")
    lifted_at: datetime | None
    lifted_by: str
    hidden: int = Field(description="Alerts that it hides now")
    active: bool = Field(description="Alerts that come in are hidden, too")


class HiddenList(BaseModel):
    """A page of suppressions, newest first."""

    model_config = ConfigDict(extra="forbid")
    suppressions: list[Hidden]
    cursor: Next


@router.get("/suppressions", include_in_schema=False)
def suppressions_page(request: Request, done: str = "", cursor: TimeCursor = "") -> Response:
    """All suppressions."""
    page = list_suppressions(request, cursor, _SHOWN)
    response: Response = request.app.state.pages.render(
        request, "suppressions.html", page=page, done=done, cursor=cursor, back=came_from(request)
    )
    return response


@router.get("/api/v1/suppressions", tags=["alerts"], summary="Suppressions", responses=faults(422))
def list_suppressions(request: Request, cursor: TimeCursor = "", limit: Limit = 100) -> HiddenList:
    """Newest first, with those that were lifted or have expired; `cursor` leads on."""
    found, older = page_of(_store(request).suppressions(limit + 1, cursor), limit, lambda one: one.suppression_id)
    return HiddenList(suppressions=[_told(one) for one in found], cursor=older)


@router.get("/suppressions/new", include_in_schema=False)
def new_page(request: Request, asked: Filter, alert: Annotated[str, Query(max_length=100)] = "") -> Response:
    """What a suppression of this filter would hide, and what it needs to know; `alert` offers more of its facts."""
    asked = _timeless(asked)
    chosen = asked.chosen()
    count, more = counted(_store(request), asked.where(request.app.state.pages.known)) if chosen else (0, False)
    offered = _facts(_store(request).get(alert)) if alert else {}
    back = came_from(request)
    kept = {"back": back, **({"alert": alert} if alert else {})}
    response: Response = request.app.state.pages.render(
        request,
        "suppress.html",
        asked=asked,
        chosen=chosen,
        count=count,
        more=more,
        offered={name: value for name, value in offered.items() if name not in chosen},
        alert=alert,
        back=back,
        changed=lambda **changes: asked.address("/suppressions/new", **kept, **changes),
        my_name=remembered_name(request),
    )
    return response


@router.post("/suppressions", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def suppress_page(
    request: Request,
    asked: Filter,
    reason: Annotated[str, Form(max_length=2000)] = "",
    days: Annotated[str, Form(max_length=10)] = "",
    who: Name = "",
) -> Response:
    """Hide what the filter finds."""
    made = _hide(
        request, asked, Hides.model_validate({"reason": reason.strip() or "not told", "days": days, "who": who})
    )
    leads_on = urlencode({"done": made.suppression_id, "back": came_from(request)})
    return remembering(RedirectResponse(f"/suppressions?{leads_on}", 303), who)


@router.post(
    "/api/v1/suppressions",
    status_code=201,
    tags=["alerts"],
    summary="Hide all that match",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 422),
)
def suppress(request: Request, asked: Filter, hides: Hides) -> Hidden:
    """Hide alerts that meet every part of the filter, those there are and those to come; nothing is deleted."""
    return _told(_hide(request, asked, hides))


@router.post("/suppressions/{suppression_id}/lift", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def lift_page(request: Request, suppression_id: str) -> Response:
    """Show again what a suppression hid."""
    _lift(request, suppression_id)
    return RedirectResponse("/suppressions", 303)


@router.post(
    "/api/v1/suppressions/{suppression_id}/lift",
    tags=["alerts"],
    summary="Show again what a suppression hid",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 404),
)
def lift(request: Request, suppression_id: str) -> Hidden:
    """End a suppression; what another one hides, too, stays hidden."""
    return _told(_lift(request, suppression_id))


def _hide(request: Request, asked: AlertFilter, hides: Hides) -> Suppression:
    asked, now = _timeless(asked), datetime.now(UTC)
    made = hide(
        _store(request),
        asked.meant(request.app.state.pages.known),
        owner=asking_name(request, hides.who),
        reason=hides.reason,
        at=now,
        expires_at=None if hides.days is None else now + timedelta(days=hides.days),
        chosen=in_words(asked),
    )
    record(request, "suppress", made.chosen, f"{made.reason}; hides {made.hidden:,}")
    return made


def _lift(request: Request, suppression_id: str) -> Suppression:
    lifted = _store(request).lift(suppression_id, asking_name(request, ""), datetime.now(UTC))
    record(request, "lift suppression", lifted.chosen)
    return lifted


def _timeless(asked: AlertFilter) -> AlertFilter:
    """A filter for alerts to come, too: neither decisions nor other suppressions belong to it."""
    return asked.model_copy(update={"state": None, "suppressed": None, "suppression": None})


def _facts(alert: Alert) -> dict[str, str]:
    """What a filter may say of an alert, as its address names it."""
    facts = {**{name: getattr(alert, name, None) for name in _OFFERED}, "port": alert.target_port}
    return {name: str(facts[name]) for name in _OFFERED if facts[name] not in (None, "")}


def _told(one: Suppression) -> Hidden:
    facts = {name: getattr(one, name) for name in Hidden.model_fields if name != "active"}
    return Hidden(**facts, active=one.active(datetime.now(UTC)))


def _store(request: Request) -> AlertStore:
    store: AlertStore = request.app.state.alerts
    return store
