"""What is counted of stored alerts, over time and in groups, and all of them as JSON lines: to programs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError
from netwarden.flows.alert import Verdict
from netwarden.portal.alerts.query import AlertFilter, AlertQuery
from netwarden.portal.paging import Next
from netwarden.portal.reference import body, faults
from netwarden.sources.alert_store import AlertGroup, AlertPage, AlertStore, GroupPage, TimeBin
from netwarden.sources.filters import Where

router = APIRouter()
Filter = Annotated[AlertFilter, Query()]
Asked = Annotated[AlertQuery, Query()]
_AT_ONCE = 1000


class Bin(BaseModel):
    """Alerts raised in a span of time."""

    model_config = ConfigDict(
        extra="forbid",
        from_attributes=True,
        json_schema_extra={
            "example": {"start": "2026-11-21T10:15:00Z", "span_s": 60, "counts": {"dos": 12}, "partial": False}
        },
    )
    start: datetime
    span_s: int
    counts: dict[str, int] = Field(description="Family → alerts; `novel`: without one")
    partial: bool = Field(description="There were more, which are not counted: the filter matches too many")


class Count(BaseModel):
    """How many alerts there are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"count": 12_840}})
    count: int


class Group(BaseModel):
    """Alerts of the same source, target, family and verdict."""

    model_config = ConfigDict(
        extra="forbid",
        from_attributes=True,
        json_schema_extra={
            "example": {
                "source": "203.0.113.9",
                "target": "10.0.0.5",
                "family": "probe",
                "verdict": "known_attack",
                "count": 412,
                "first": "2026-11-21T10:15:00Z",
                "last": "2026-11-21T10:17:21Z",
                "worst": 0.9981,
                "newest": "8e0c3f9d2b7a41c6a5d1e0f3b2c49d77",
            }
        },
    )
    source: str | None
    target: str | None
    family: str | None
    verdict: Verdict
    count: int
    first: datetime
    last: datetime
    worst: float = Field(description="The highest score")
    newest: str = Field(description="Id of the newest alert")


class GroupList(BaseModel):
    """A page of groups, the one with the newest alert first unless their size was asked for."""

    model_config = ConfigDict(extra="forbid")
    groups: list[Group]
    cursor: Next
    partial: bool = Field(description="There were too many: only the newest alerts that match were grouped")


@router.get("/api/v1/alerts/timeline", tags=["alerts"], summary="Alerts over time", responses=faults(422))
def list_timeline(
    request: Request, asked: Filter, bins: Annotated[int, Query(ge=1, le=1000, description="At most")] = 60
) -> list[Bin]:
    """Alerts that meet the filter in equal spans of whole minutes, oldest first, without gap; outer spans whole."""
    return [Bin.model_validate(each) for each in timeline(request, asked, bins)]


@router.get("/api/v1/alerts/count", tags=["alerts"], summary="Exactly how many", responses=faults(422))
def count_alerts(request: Request, asked: Filter) -> Count:
    """Alerts that meet the filter now, all counted: what a decision on all of them would be about."""
    return Count(count=request.app.state.alerts.count(where_of(request, asked)))


@router.get("/api/v1/alerts/groups", tags=["alerts"], summary="Repeated alerts", responses=faults(422))
def list_groups(request: Request, asked: Asked) -> GroupList:
    """Alerts that meet the filter, by source, target, family and verdict; `cursor` leads on.

    With `sort=count` the most alerts first, and with `view=sources` over all targets: then there is no further page.
    """
    found = repeats(request, asked)
    return GroupList(groups=[_told(one) for one in found.groups], cursor=found.cursor, partial=found.partial)


@router.get(
    "/api/v1/alerts/export.jsonl",
    tags=["alerts"],
    summary="All that match, as JSON lines",
    response_class=Response,
    responses={
        200: body("application/x-ndjson", "An alert a line, newest first", '{"alert_id": "8e0c3f9d"}\n'),
        **faults(422),
    },
)
def export(request: Request, asked: Filter) -> Response:
    """Every alert that meets the filter, with its features, the newest first; never all in memory."""
    where = where_of(request, asked)
    first = request.app.state.alerts.find(
        where, _AT_ONCE
    )  # a filter that means nothing is told before an answer begins
    headers = {"Content-Disposition": 'attachment; filename="alerts.jsonl"'}
    return StreamingResponse(_lines(request.app.state.alerts, where, first), 200, headers, "application/x-ndjson")


def where_of(request: Request, asked: AlertFilter) -> Where:
    """What the stores look for."""
    return asked.where(request.app.state.pages.known)


def repeats(request: Request, asked: AlertQuery) -> GroupPage:
    """Repeats as they are asked for: a page of the newest, or those with the most alerts."""
    store: AlertStore = request.app.state.alerts
    by_source = asked.view == "sources"
    if by_source or asked.sort == "count":
        if asked.cursor is not None:
            raise InputError("cursor: repeats with the most alerts have one page; ask for more with `limit`")
        return store.loudest(where_of(request, asked), asked.limit, by_source=by_source)
    return store.groups(where_of(request, asked), asked.limit, asked.cursor)


def timeline(request: Request, asked: AlertFilter, bins: int) -> list[TimeBin]:
    """Alerts over the time that is asked for, or over all."""
    store: AlertStore = request.app.state.alerts
    whenever = asked.model_copy(update={"since": None, "until": None})
    return store.timeline(where_of(request, whenever), asked.since, asked.until, bins)


def _told(group: AlertGroup) -> Group:
    return Group.model_validate(group)


def _lines(store: AlertStore, where: Where, page: AlertPage) -> Iterator[bytes]:
    while True:
        yield b"".join(alert.model_dump_json().encode() + b"\n" for alert in page.alerts)
        if page.cursor is None:
            return
        page = store.find(where, _AT_ONCE, page.cursor)
