"""Stored alerts: the list with its filters, and each alert with what helps to judge it; pages and API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import unquote, urlencode, urlsplit

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.flows.alert import TRIAGE_STATES, VERDICTS, Alert
from netwarden.flows.labels import Family, load_families
from netwarden.portal.alerts.details import AlertDetails, counted, details, feature_groups
from netwarden.portal.alerts.forms import has_packets
from netwarden.portal.alerts.known_networks import DIRECTIONS
from netwarden.portal.alerts.query import PROTOCOLS, AlertQuery
from netwarden.portal.alerts.sums import repeats, timeline, where_of
from netwarden.portal.charts import Column, time_chart
from netwarden.portal.paging import Next
from netwarden.portal.reference import faults
from netwarden.portal.uploads.evidence import view_of
from netwarden.sources.alert_store import AlertStore, TimeBin

router = APIRouter()
NAME_COOKIE = "netwarden-name"
_ALL_REASONS = 1000
_BINS = 60  # of a page's timeline
_LONGEST = 2000  # of an address
Asked = Annotated[AlertQuery, Query()]


class AlertList(BaseModel):
    """A page of alerts, newest first, without their features."""

    model_config = ConfigDict(extra="forbid")
    alerts: list[Alert]
    cursor: Next
    count: int = Field(description="Alerts that meet the filter, counted up to 10,000")
    more: bool = Field(description="There are more than were counted")


@router.get("/alerts", include_in_schema=False)
def alerts_page(request: Request, asked: Asked, done: str = "") -> Response:
    """Stored alerts."""
    store: AlertStore = request.app.state.alerts
    where = where_of(request, asked)
    now = datetime.now(UTC)  # before looking: what comes meanwhile is told as new
    page = store.find(where, asked.limit, asked.cursor) if asked.view == "list" else None
    together = repeats(request, asked) if asked.view != "list" else None
    count, more = counted(store, where)
    bins = timeline(request, asked, _BINS)
    acts = [act for act in store.acts(20) if act.act_id == done] if done else []
    response: Response = request.app.state.pages.render(
        request,
        "alerts.html",
        asked=asked,
        chosen=asked.chosen(),
        events=_events(asked, now),
        page=page,
        repeats=together,
        chart=time_chart(bins) if bins else None,
        brush=_brush(asked, bins),
        partial=any(each.partial for each in bins),
        count=count,
        more=more,
        anything=bool(count) or bool(store.count(at_most=1)),
        act=acts[0] if acts else None,
        families=_families(request),
        titles={name: family.title for name, family in _families(request).items()},
        verdicts=[verdict for verdict in VERDICTS if verdict != "benign"],
        states=TRIAGE_STATES,
        protocols=PROTOCOLS,
        directions=DIRECTIONS,
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
    where = where_of(request, asked)
    page = store.find(where, asked.limit, asked.cursor)
    count, more = counted(store, where)
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
        nearby=sorted((told.alert, *told.nearby), key=lambda each: each.raised_at, reverse=True),
        minutes=[f"{told.alert.raised_at + timedelta(minutes=far):%Y-%m-%dT%H:%M:%S}Z" for far in (-10, 10)],
        families=_families(request),
        states=TRIAGE_STATES,
        protocols=PROTOCOLS,
        my_name=remembered_name(request),
        back=came_from(request),
        packets=has_packets(request),
        direction=request.app.state.pages.known.direction(told.alert.source, told.alert.target),
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


def came_from(request: Request) -> str:
    """The list of alerts that somebody comes from, with its filter: as the address says, else the browser."""
    before = urlsplit(request.headers.get("referer", ""))
    told = request.query_params.get("back") or f"{before.path}?{before.query}"
    return told if told.startswith("/alerts?") and len(told) < _LONGEST else "/alerts?state=new"


def remembered_name(request: Request) -> str:
    """The name under which this browser last decided on an alert."""
    return unquote(request.cookies.get(NAME_COOKIE, ""))[:100]


@dataclass(frozen=True)
class Brush:
    """Where a timeline leads: `wider` shows three times the time, and `everything` all there is."""

    start: datetime
    end: datetime
    span_s: int
    base: str
    wider: str | None
    everything: str | None

    def narrowed(self, column: Column) -> str:
        """The address of the alerts of a column."""
        return f"{self.base}{'&' if '?' in self.base else '?'}{_span_query(column.start, column.end)}"


def _brush(asked: AlertQuery, bins: Sequence[TimeBin]) -> Brush | None:
    if not bins:
        return None
    start, span = bins[0].start, timedelta(seconds=bins[0].span_s)
    end = start + span * len(bins)
    base = asked.address("/alerts", **{"from": None, "to": None})
    narrowed = asked.since is not None or asked.until is not None
    wider = f"{base}{'&' if '?' in base else '?'}{_span_query(start - (end - start), end + (end - start))}"
    return Brush(start, end, bins[0].span_s, base, wider if narrowed else None, base if narrowed else None)


def _span_query(start: datetime, end: datetime) -> str:
    return urlencode({"from": f"{start:%Y-%m-%dT%H:%M:%S}Z", "to": f"{end:%Y-%m-%dT%H:%M:%S}Z"})


def _events(asked: AlertQuery, now: datetime) -> str:
    """Where a page learns of newer alerts; empty where it cannot show any."""
    if asked.cursor is not None or asked.until is not None or asked.suppressed == "yes":
        return ""
    return asked.address("/api/v1/alerts/events", **{"from": max(asked.since or now, now).isoformat()})


def _families(request: Request) -> dict[str, Family]:
    return load_families(request.app.state.settings.schema_dir / "families.yaml").families
