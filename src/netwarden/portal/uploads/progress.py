"""How far files under way are, for those who sent them; and their end before it, where they ask for that."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NotFoundError
from netwarden.portal.access.people import needs
from netwarden.portal.reference import faults

TICKET = "^[A-Za-z0-9-]{8,64}$"
_MOST = 1000


@dataclass
class Scoring:
    """One file under way."""

    fraction: float = 0.0
    rows: int = 0
    began_at: float = 0.0
    cancelled: bool = False

    def proceed(self, fraction: float, rows: int) -> None:
        """Note how far it is. Raises InputError where somebody asked to end it."""
        self.fraction, self.rows = fraction, rows
        if self.cancelled:
            raise InputError("cancelled; nothing of this file was kept")


class UnderWay:
    """Files under way, by the ticket that the sender made up."""

    def __init__(self) -> None:
        self._found: dict[str, Scoring] = {}
        self._lock = threading.Lock()

    @contextmanager
    def follow(self, ticket: str) -> Iterator[Scoring]:
        """A file that can be followed by its ticket, if it has one, until the block ends."""
        scoring = Scoring(began_at=time.monotonic())
        with self._lock:
            if ticket and len(self._found) < _MOST:
                self._found[ticket] = scoring
        try:
            yield scoring
        finally:
            with self._lock:
                self._found.pop(ticket, None)

    def find(self, ticket: str) -> Scoring:
        """A file under way. Raises NotFoundError."""
        found = self._found.get(ticket)
        if found is None:
            raise NotFoundError(f"no file is under way with ticket {ticket!r}; it may be done")
        return found


class Progress(BaseModel):
    """How far a file is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"state": "scoring", "fraction": 0.4, "rows": 131072, "seconds": 2.5}},
    )
    state: Literal["scoring", "cancelling"]
    fraction: float = Field(ge=0, le=1, description="Of the file's bytes that have been read")
    rows: int = Field(description="Flows scored so far")
    seconds: float


@asynccontextmanager
async def _kept(app: FastAPI) -> AsyncIterator[None]:
    app.state.under_way = UnderWay()
    yield


router = APIRouter(lifespan=_kept, tags=["detect"])
Ticket = Annotated[str, Query(pattern=TICKET, description="As sent with `POST /predict?ticket=…`")]


@router.get("/api/v1/uploads/progress", summary="How far a file is", responses=faults(404, 422))
def progress(request: Request, ticket: Ticket) -> Progress:
    """How far the scoring of a file is that was sent with a ticket."""
    return _told(request.app.state.under_way.find(ticket))


@router.post(
    "/api/v1/uploads/progress/cancel",
    summary="Cancel a file",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 404, 422),
)
def cancel(request: Request, ticket: Ticket) -> Progress:
    """End the scoring of a file; nothing of it is kept, and the request that sent it is answered with 422."""
    scoring: Scoring = request.app.state.under_way.find(ticket)
    scoring.cancelled = True
    return _told(scoring)


def _told(scoring: Scoring) -> Progress:
    return Progress(
        state="cancelling" if scoring.cancelled else "scoring",
        fraction=min(scoring.fraction, 1.0),
        rows=scoring.rows,
        seconds=time.monotonic() - scoring.began_at,
    )
