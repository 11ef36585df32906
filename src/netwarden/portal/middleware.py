"""Around every request, besides access control: faults are answered, bodies bounded, requests counted and timed."""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netwarden import telemetry
from netwarden.logs import get
from netwarden.portal.access.security import starts_work
from netwarden.portal.rendering import problem

_log = get(__name__)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class AnswerHead:
    """ASGI middleware that answers HEAD as GET; the server leaves the body out. Never where GET starts something."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and not starts_work(scope["path"]):
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class Boundary:
    """ASGI middleware, the process boundary: what nobody expected is logged with its trace and told without details.

    It lies inside the access rules, so that this answer has their headers too; the framework's own handler does not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_noting(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        except ClientDisconnect:
            _log.info("client left", extra={"route": scope["path"]})
        except Exception as error:
            if begun or scope["type"] != "http":
                raise  # too late for an answer: the connection breaks off, and the server logs why
            _log.exception("unexpected error", extra={"route": scope["path"], "kind": type(error).__name__})
            answer = problem(Request(scope), 500, "something went wrong here; the log of the portal says what")
            await answer(scope, receive, send)


class BodyLimit:
    """ASGI middleware that ends the reading of a body that is too large; FastAPI's own answers in plain text."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_of: Mapping[str, int]) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._max_of = max_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        limit = self._max_of.get(scope["path"], self._max_bytes)
        read = 0

        async def receive_limited() -> Message:
            nonlocal read
            if stated.isdigit() and int(stated) > limit:
                raise HTTPException(413)
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_limited, send)


class Measure:
    """ASGI middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            # The route's own path and known methods, never the client's words: labels stay few.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            telemetry.HTTP_REQUESTS.labels(method, route, str(status)).inc()
            telemetry.HTTP_SECONDS.labels(route).observe(time.perf_counter() - started)
