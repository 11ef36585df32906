"""Alerts as they come in: how many there are since a moment, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from netwarden.portal.alert_details import counted
from netwarden.portal.alerts import Asked
from netwarden.portal.reference import body, faults
from netwarden.portal.rendering import event
from netwarden.sources.filters import Where
from netwarden.sources.store import AlertStore

router = APIRouter()
_LOOK_EVERY_S = 1.0
_BEAT_S = 15.0  # proxies give up on a silent connection after 30 to 60 seconds


@router.get(
    "/api/v1/alerts/events",
    tags=["alerts"],
    summary="Alerts as they come",
    response_class=Response,
    responses={
        200: body("text/event-stream", "At every change", 'data: {"count": 3, "more": false}\n\n'),
        **faults(422),
    },
)
def alert_events(request: Request, asked: Asked) -> Response:
    """How many alerts meet the filter since `from`, or since now without it: at every change, within two seconds."""
    since = asked.since or datetime.now(UTC)
    where = asked.model_copy(update={"since": since}).where()
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_events(request.app.state.alerts, where), headers=headers, media_type="text/event-stream")


async def _events(store: AlertStore, where: Where) -> AsyncIterator[bytes]:
    """The count whenever it has changed; a comment at first and now and then, which shows that the connection lives."""
    yield b": watching\n\n"
    sent, silent_s = 0, 0.0
    while True:
        count, more = await run_in_threadpool(counted, store, where)
        if count != sent:
            yield event({"count": count, "more": more})
            sent, silent_s = count, 0.0
        elif silent_s >= _BEAT_S:
            yield b": nothing new\n\n"
            silent_s = 0.0
        await anyio.sleep(_LOOK_EVERY_S)
        silent_s += _LOOK_EVERY_S
