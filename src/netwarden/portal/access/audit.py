"""The audit log: every write leaves a line that says who did what to which thing; its page and its API."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.portal.access.people import needs, person
from netwarden.portal.paging import Next, TimeCursor
from netwarden.portal.reference import faults
from netwarden.sources.portal_store import AuditLine, AuditPage, PortalStore, line_id

router = APIRouter()
_LONGEST = 500  # characters of what a client gave, so that no line grows without bounds


class Line(BaseModel):
    """One line of the audit log."""

    model_config = ConfigDict(extra="forbid")
    line_id: str
    at: datetime
    who: str
    role: str
    address: str = Field(description="Where the request came from")
    action: str = Field(description="What was done, in a word")
    object: str = Field(description="To which thing")
    detail: str


class AuditList(BaseModel):
    """A page of the audit log, newest first."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "lines": [
                    {
                        "line_id": "20261121T101500.000000-5f0c2a91",
                        "at": "2026-11-21T10:15:00Z",
                        "who": "ada",
                        "role": "admin",
                        "address": "192.0.2.7",
                        "action": "promote",
                        "object": "bundle 65ed956f64122dc2",
                        "detail": "fewer false positives on the lab's days",
                    }
                ],
                "cursor": None,
            }
        },
    )
    lines: list[Line]
    cursor: Next


class AuditQuery(BaseModel):
    """Which lines."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    cursor: TimeCursor = ""
    who: str = Field("", max_length=100)
    action: str = Field("", max_length=100)


Asked = Annotated[AuditQuery, Query()]


def record(request: Request, action: str, object_: str, detail: str = "") -> None:
    """Leave a line that whoever sent this request did `action` to `object_`; call it once the thing is done."""
    who = person(request)
    now = datetime.now(UTC)
    address = request.client.host if request.client else "unknown"
    _store(request).append(
        AuditLine(line_id(now), now, who.name, who.role, address, action, object_[:_LONGEST], detail[:_LONGEST])
    )


@router.get("/audit", include_in_schema=False, dependencies=[Depends(needs("admin"))])
def audit_page(request: Request, asked: Asked) -> Response:
    """Who did what, and when."""
    response: Response = request.app.state.pages.render(request, "audit.html", page=_found(request, asked), asked=asked)
    return response


@router.get(
    "/api/v1/audit",
    tags=["operate"],
    summary="The audit log",
    dependencies=[Depends(needs("admin"))],
    responses=faults(403, 422),
)
def audit_log(request: Request, asked: Asked) -> AuditList:
    """Every write, newest first; `cursor` leads on. Decisions on alerts have a trail of their own as well."""
    page = _found(request, asked)
    return AuditList(lines=[Line(**asdict(line)) for line in page.lines], cursor=page.cursor)


def _found(request: Request, asked: AuditQuery) -> AuditPage:
    return _store(request).lines(asked.limit, asked.cursor, asked.who.strip(), asked.action.strip())


def _store(request: Request) -> PortalStore:
    store: PortalStore = request.app.state.portal_store
    return store
