"""How answers travel: compressed where that pays, and not at all where the client has them already."""

from __future__ import annotations

import hashlib
import zlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LEAST_BYTES = 1000  # below it a packet holds the answer anyway
_LEVEL = 5
_GZIP = 16 + zlib.MAX_WBITS
_TEXT = ("text/html", "text/css", "text/csv", "text/javascript", "application/javascript", "image/svg+xml")
_COMPRESSED = (*_TEXT, "application/json", "application/problem+json")


class EntityTag:
    """ASGI middleware that names each state of an answer of the API; whoever has it already gets 304 and no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(("/api/", "/openapi")):
            await self._app(scope, receive, send)
            return
        known = {tag.strip() for tag in Headers(scope=scope).get("if-none-match", "").split(",")}
        start: Message | None = None
        body: list[bytes] = []

        async def send_named(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_whole_json(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body.append(message.get("body", b""))
            if not message.get("more_body"):
                await _send_named(start, b"".join(body), known, send)

        await self._app(scope, receive, send_named)


class Compress:
    """ASGI middleware that compresses text and JSON; every piece at once, so that nothing is held back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            await self._app(scope, receive, send)
            return
        packer: zlib._Compress | None = None

        async def send_packed(message: Message) -> None:
            nonlocal packer
            if message["type"] == "http.response.start" and _is_worth_it(message):
                packer = zlib.compressobj(_LEVEL, wbits=_GZIP)
                headers = MutableHeaders(scope=message)
                headers["Content-Encoding"] = "gzip"
                headers.add_vary_header("Accept-Encoding")
                del headers["content-length"]
            elif message["type"] == "http.response.body" and packer is not None:
                more = message.get("more_body", False)
                packed = packer.compress(message.get("body", b""))
                message["body"] = packed + packer.flush(zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH)
            await send(message)

        await self._app(scope, receive, send_packed)


async def _send_named(start: Message, body: bytes, known: set[str], send: Send) -> None:
    tag = f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = MutableHeaders(scope=start)
    headers["ETag"] = tag
    headers["Cache-Control"] = "private, no-cache"  # may be kept, but is asked for each time
    if tag in known:
        start["status"], body = 304, b""
        del headers["content-length"], headers["content-type"]
    await send(start)
    await send({"type": "http.response.body", "body": body})


def _is_whole_json(start: Message) -> bool:
    """Whether this is an answer in one piece, whose length is known; what comes bit by bit is passed on."""
    headers = Headers(raw=start["headers"])
    is_json = headers.get("content-type", "").partition(";")[0] == "application/json"
    return start["status"] == 200 and is_json and "content-length" in headers


def _is_worth_it(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    if "content-encoding" in headers or start["status"] in (204, 304):
        return False
    kind = headers.get("content-type", "").partition(";")[0]
    return kind in _COMPRESSED and int(headers.get("content-length", _LEAST_BYTES)) >= _LEAST_BYTES
