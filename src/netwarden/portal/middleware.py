"""What happens around every request besides access control: bodies are bounded, requests counted and timed."""

from __future__ import annotations

import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netwarden import telemetry


class BodyLimit:
    """ASGI middleware that ends the reading of a body that is too large; FastAPI's own answers in plain text."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stated = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        read = 0

        async def receive_limited() -> Message:
            nonlocal read
            if stated.isdigit() and int(stated) > self._max_bytes:
                raise HTTPException(413)
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
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
            # The route's own path, never the client's: labels stay few.
            route = getattr(scope.get("route"), "path", "other")
            telemetry.HTTP_REQUESTS.labels(scope["method"], route, str(status)).inc()
            telemetry.HTTP_SECONDS.labels(route).observe(time.perf_counter() - started)
