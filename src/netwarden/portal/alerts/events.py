"""Alerts as they come in: how many there are since a moment, as server-sent events and over a WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket

from netwarden.errors import InputError
from netwarden.portal.alerts.details import counted
from netwarden.portal.alerts.query import AlertFilter
from netwarden.portal.alerts.sums import Filter, where_of
from netwarden.portal.reference import body, faults
from netwarden.portal.rendering import event
from netwarden.sources.alert_store import AlertStore
from netwarden.sources.filters import Where, conditions

router = APIRouter()
_LOOK_EVERY_S = 1.0
_POLICY = 1008  # closes a WebSocket whose request is refused
_REASON_CHARACTERS = 120  # what fits into a closing frame
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
def alert_events(request: Request, asked: Filter) -> Response:
    """How many alerts meet the filter since `from`, or since now without it: at every change, within two seconds."""
    since = asked.since or datetime.now(UTC)
    where = where_of(request, asked.model_copy(update={"since": since}))
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_events(request.app.state.alerts, where), headers=headers, media_type="text/event-stream")


@router.websocket("/ws/alerts")
async def alert_socket(socket: WebSocket) -> None:
    """The same over a WebSocket, with the filter in its address; the gatekeeper knows who opens it and from where."""
    try:
        asked = AlertFilter.model_validate(dict(socket.query_params))
        since = asked.since or datetime.now(UTC)
        where = asked.model_copy(update={"since": since}).where(socket.app.state.pages.known)
        conditions(where)
    except (ValidationError, InputError) as error:
        await socket.close(_POLICY, str(error)[:_REASON_CHARACTERS])
        return
    await socket.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_closed, socket, tasks.cancel_scope)
        async for count, more in _counts(socket.app.state.alerts, where):
            if count is not None:
                await socket.send_json({"count": count, "more": more})


async def _until_closed(socket: WebSocket, scope: anyio.CancelScope) -> None:
    """A socket that nobody reads any more is only found out by reading from it."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()


async def _events(store: AlertStore, where: Where) -> AsyncIterator[bytes]:
    """The count whenever it has changed; a comment at first and now and then, which shows that the connection lives."""
    yield b": watching\n\n"
    async for count, more in _counts(store, where):
        yield b": nothing new\n\n" if count is None else event({"count": count, "more": more})


async def _counts(store: AlertStore, where: Where) -> AsyncIterator[tuple[int | None, bool]]:
    """The count whenever it has changed; None when it has not for a while."""
    sent, silent_s = 0, 0.0
    while True:
        count, more = await run_in_threadpool(counted, store, where)
        if count != sent:
            yield count, more
            sent, silent_s = count, 0.0
        elif silent_s >= _BEAT_S:
            yield None, more
            silent_s = 0.0
        await anyio.sleep(_LOOK_EVERY_S)
        silent_s += _LOOK_EVERY_S
