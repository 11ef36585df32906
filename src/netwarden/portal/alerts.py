"""Stored alerts: the list with its filters, and each alert with what helps to judge it; pages and API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.flows.alert import TRIAGE_STATES, VERDICTS, Alert
from netwarden.flows.labels import Family, load_families
from netwarden.portal.alert_details import AlertDetails, counted, details, feature_groups
from netwarden.portal.alert_query import PROTOCOLS, AlertQuery
from netwarden.portal.evidence import view_of
from netwarden.portal.reference import faults
from netwarden.sources.store import AlertStore

router = APIRouter()
NAME_COOKIE = "netwarden-name"
_ALL_REASONS = 1000
Asked = Annotated[AlertQuery, Query()]


class AlertList(BaseModel):
    """A page of alerts, newest first, without their features."""

    model_config = ConfigDict(extra="forbid")
    alerts: list[Alert]
    cursor: str | None = Field(description="For the next page; null: this is the last")
    count: int = Field(description="Alerts that meet the filter, counted up to 10,000")
    more: bool = Field(description="There are more than were counted")


@router.get("/alerts", include_in_schema=False)
def alerts_page(request: Request, asked: Asked, done: str = "") -> Response:
    """Stored alerts."""
    store: AlertStore = request.app.state.alerts
    where = asked.where()
    now = datetime.now(UTC)  # before looking: what comes meanwhile is told as new
    page = store.find(where, asked.limit, asked.cursor)
    count, more = counted(store, where)
    acts = [act for act in store.acts(20) if act.act_id == done] if done else []
    response: Response = request.app.state.pages.render(
        request,
        "alerts.html",
        asked=asked,
        chosen=asked.chosen(),
        events=_events(asked, now),
        page=page,
        count=count,
        more=more,
        anything=bool(count) or bool(store.count(at_most=1)),
        act=acts[0] if acts else None,
        families=_families(request),
        verdicts=[verdict for verdict in VERDICTS if verdict != "benign"],
        states=TRIAGE_STATES,
        protocols=PROTOCOLS,
    )
    return response


@router.get(
    "/api/v1/alerts",
    tags=["alerts"],
    summary="Stored alerts",
    response_model_exclude={"alerts": {"__all__": {"features"}}},
    responses=faults(422),
)
def list_alerts(request: Request, asked: Asked) -> AlertList:
    """Alerts, newest first, that meet every part of the filter; `cursor` leads on."""
    store: AlertStore = request.app.state.alerts
    page = store.find(asked.where(), asked.limit, asked.cursor)
    count, more = counted(store, asked.where())
    return AlertList(alerts=page.alerts, cursor=page.cursor, count=count, more=more)


@router.get("/alerts/{alert_id}", include_in_schema=False)
def alert_page(request: Request, alert_id: str) -> Response:
    """One alert."""
    told = details(request, alert_id, _ALL_REASONS)
    response: Response = request.app.state.pages.render(
        request,
        "alert.html",
        told=told,
        alert=told.alert,
        evidence=[view_of(each) for each in told.evidence],
        groups=feature_groups(request, told),
        raw=told.alert.model_dump_json(indent=2),
        families=_families(request),
        states=TRIAGE_STATES,
        protocols=PROTOCOLS,
        my_name=remembered_name(request),
    )
    return response


@router.get("/api/v1/alerts/{alert_id}", tags=["alerts"], summary="One alert", responses=faults(404))
def alert(
    request: Request,
    alert_id: str,
    top: Annotated[int, Query(ge=1, le=1000, description="Features to name of each kind of evidence")] = 5,
) -> AlertDetails:
    """An alert with its features, why it was flagged, its triage, and what else its endpoints raised."""
    return details(request, alert_id, top)


def remembered_name(request: Request) -> str:
    """The name under which this browser last decided on an alert."""
    return unquote(request.cookies.get(NAME_COOKIE, ""))[:100]


def _events(asked: AlertQuery, now: datetime) -> str:
    """Where a page learns of newer alerts; empty where it cannot show any."""
    if asked.cursor is not None or asked.until is not None:
        return ""
    return asked.address("/api/v1/alerts/events", **{"from": max(asked.since or now, now).isoformat()})


def _families(request: Request) -> dict[str, Family]:
    return load_families(request.app.state.settings.schema_dir / "families.yaml").families
