"""Decisions on alerts: on one, on all that a filter finds, taken back, and the trail of all of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError
from netwarden.flows.alert import TRIAGE_STATES, TriageState
from netwarden.portal.access.people import needs, person
from netwarden.portal.alerts.details import Decision, decision
from netwarden.portal.alerts.pages import NAME_COOKIE, Asked, remembered_name
from netwarden.portal.alerts.query import AlertFilter
from netwarden.portal.alerts.sums import Filter, where_of
from netwarden.portal.paging import Limit, Next, TimeCursor, page_of
from netwarden.portal.reference import faults
from netwarden.sources.filters import Where
from netwarden.sources.store import AlertStore, TriageAct
from netwarden.triage.decisions import decide, take_back

router = APIRouter()
_A_YEAR_S = 365 * 24 * 3600
_TRAIL = 100  # acts that a page shows

Name = Annotated[str, Form(max_length=100)]
Note = Annotated[str, Form(max_length=2000)]


class Asks(BaseModel):
    """What is decided, by whom and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"state": "false_positive", "note": "the backup, every night", "who": "ada"}},
    )
    state: TriageState
    note: str = Field("", max_length=2000)
    who: str = Field("", max_length=100, description="Your name, for the trail; your address stands there anyway")


class TakesBack(BaseModel):
    """Who takes something back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"who": "ada"}})
    who: str = Field("", max_length=100)


class DecisionList(BaseModel):
    """A page of the trail, newest first."""

    model_config = ConfigDict(extra="forbid")
    decisions: list[Decision]
    cursor: Next


@router.get("/triage", include_in_schema=False)
def trail_page(request: Request, cursor: TimeCursor = "") -> Response:
    """Who decided what, and when."""
    acts, older = _trail(request, cursor, _TRAIL)
    response: Response = request.app.state.pages.render(request, "trail.html", acts=acts, cursor=cursor, older=older)
    return response


@router.get("/api/v1/triage", tags=["alerts"], summary="The audit trail", responses=faults(422))
def trail(request: Request, cursor: TimeCursor = "", limit: Limit = 100) -> DecisionList:
    """All decisions, newest first; `cursor` leads on."""
    acts, older = _trail(request, cursor, limit)
    return DecisionList(decisions=[decision(act) for act in acts], cursor=older)


@router.get("/triage/all", include_in_schema=False)
def bulk_page(request: Request, asked: Asked) -> Response:
    """How many alerts a decision on all of a filter is about; those that come later are not among them."""
    now = datetime.now(UTC)
    until = min(asked.until or now, now)
    frozen = asked.model_copy(update={"until": until})
    response: Response = request.app.state.pages.render(
        request,
        "triage.html",
        asked=asked,
        chosen=asked.chosen(),
        address=frozen.address("/triage/all"),
        count=_store(request).count(where_of(request, frozen)),
        states=TRIAGE_STATES,
        my_name=remembered_name(request),
    )
    return response


@router.post("/triage/all", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def triage_all(
    request: Request, asked: Asked, state: Annotated[TriageState, Form()], note: Note = "", who: Name = ""
) -> Response:
    """Decide on all that a filter finds."""
    act = _decide_all(request, asked, Asks(state=state, note=note, who=who))
    return _told(f"/alerts?state=new&done={act.act_id}" if asked.state == "new" else f"/alerts?done={act.act_id}", who)


@router.post(
    "/api/v1/triage",
    tags=["alerts"],
    summary="Decide on all that match",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 422),
)
def decide_all(request: Request, asked: Filter, asks: Asks) -> Decision:
    """Put all alerts that meet every part of the filter, now, into a state; at least one part is needed."""
    if not asked.chosen():
        raise InputError("no filter is given, which would mean every alert; if that is meant, say `score_from=0`")
    return decision(_decide_all(request, asked, asks))


@router.post("/alerts/{alert_id}/triage", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def triage_one(
    request: Request, alert_id: str, state: Annotated[TriageState, Form()], note: Note = "", who: Name = ""
) -> Response:
    """Decide on one alert."""
    _decide_one(request, alert_id, Asks(state=state, note=note, who=who))
    return _told(f"/alerts/{alert_id}", who)


@router.post(
    "/api/v1/alerts/{alert_id}/triage",
    tags=["alerts"],
    summary="Decide on one",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 404, 422),
)
def decide_one(request: Request, alert_id: str, asks: Asks) -> Decision:
    """Put an alert into a state."""
    return decision(_decide_one(request, alert_id, asks))


@router.post("/triage/{act_id}/undo", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def undo_page(request: Request, act_id: str, who: Name = "") -> Response:
    """Take a decision back."""
    act = take_back(_store(request), act_id, who=asking_name(request, who), at=datetime.now(UTC))
    return RedirectResponse(f"/alerts?done={act.act_id}", 303)


@router.post(
    "/api/v1/triage/{act_id}/undo",
    tags=["alerts"],
    summary="Take a decision back",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 404),
)
def undo(request: Request, act_id: str, by: TakesBack) -> Decision:
    """Put the alerts that an act changed back into the state they had, except those that were changed since."""
    return decision(take_back(_store(request), act_id, who=asking_name(request, by.who), at=datetime.now(UTC)))


def _trail(request: Request, cursor: str, limit: int) -> tuple[list[TriageAct], str | None]:
    return page_of(_store(request).acts(limit + 1, cursor), limit, lambda act: act.act_id)


def _decide_all(request: Request, asked: AlertFilter, asks: Asks) -> TriageAct:
    return _decided(request, where_of(request, asked), asks, in_words(asked))


def in_words(asked: AlertFilter) -> str:
    """Which alerts a filter means."""
    return ", ".join(f"{name} {value}" for name, value in asked.chosen().items()) or "every alert"


def _decide_one(request: Request, alert_id: str, asks: Asks) -> TriageAct:
    _store(request).get(alert_id)  # says where there is none
    return _decided(request, {"alert_id": alert_id}, asks, f"alert {alert_id}")


def _decided(request: Request, where: Where, asks: Asks, chosen: str) -> TriageAct:
    return decide(
        _store(request),
        where,
        asks.state,
        who=asking_name(request, asks.who),
        at=datetime.now(UTC),
        chosen=chosen,
        note=asks.note.strip(),
    )


def _told(address: str, who: str) -> Response:
    """To the page that shows what was done; the name is remembered for the next time."""
    return remembering(RedirectResponse(address, 303), who)


def remembering(response: Response, who: str) -> Response:
    """An answer that has the browser remember a name."""
    if who.strip():
        response.set_cookie(NAME_COOKIE, quote(who.strip()), max_age=_A_YEAR_S, httponly=True, samesite="strict")
    return response


def asking_name(request: Request, name: str) -> str:
    """The account's name; without accounts as its owner gave it, with the address the request came from."""
    asking = person(request)
    if asking.known:
        return asking.name
    host = request.client.host if request.client else "unknown"
    return f"{name.strip() or remembered_name(request) or 'analyst'} ({host})"


def _store(request: Request) -> AlertStore:
    store: AlertStore = request.app.state.alerts
    return store
