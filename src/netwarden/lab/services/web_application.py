"""The application behind a web site of the lab: API, log-in form, search, uploads and chat, over a unix socket.

It answers as small applications do, mistakes included: /search and /product put what they are given into their SQL,
/document follows `..`; the data behind them is made up, in memory, and the only thing that they can give away.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from netwarden.lab.play import Part
from netwarden.lab.services import websocket
from netwarden.lab.services.accounts import ACCOUNTS
from netwarden.lab.services.serving import forgiving

_BLOCK = bytes(65_536)
_LARGEST_ANSWER = 64_000_000


@dataclass(frozen=True)
class Request:
    """A request whose body is still on its way."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    shop: Shop

    async def body(self) -> AsyncIterator[bytes]:
        """The body in pieces, of a given length or chunked."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]
            return
        left = int(self.headers.get("content-length", 0))
        while left and (piece := await self.reader.read(min(left, 65_536))):
            left -= len(piece)
            yield piece

    async def drain(self) -> int:
        """Bytes of the body, which is thrown away."""
        return sum([len(piece) async for piece in self.body()])

    async def answer(self, status: str, body: bytes, *headers: str) -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "\r\n"]
        self.writer.write("\r\n".join(head).encode() + body)
        await self.writer.drain()


@dataclass
class Shop:
    """What the application knows: made-up products, members and documents."""

    rng: random.Random
    data: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.data = sqlite3.connect(":memory:")
        self.data.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)  # injected SQL may be slow, not endless
        self.data.execute("create table product (id integer, name text, price real)")
        self.data.execute("create table member (name text, mail text, secret text)")
        names = ("lamp", "chair", "kettle", "carpet", "shelf", "clock", "mirror", "stool")
        rows = [(nth, f"{self.rng.choice(names)} {nth}", self.rng.uniform(5, 500)) for nth in range(1, 201)]
        self.data.executemany("insert into product values (?, ?, ?)", rows)
        self.data.executemany("insert into member values (?, ?, ?)", [(n, f"{n}@lab", "made up") for n in ACCOUNTS])

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self.data.execute(sql).fetchmany(100)

    async def work(self, low_s: float, high_s: float) -> None:
        await asyncio.sleep(self.rng.uniform(low_s, high_s))


async def start(socket: Path, part: Part) -> asyncio.Server:
    """The application, listening on a unix socket."""
    shop = Shop(part.rng)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read(reader, writer, shop)
        await ROUTES.get(request.path.split("/")[1], _missing)(request)

    return await asyncio.start_unix_server(forgiving(handle), socket)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shop: Shop) -> Request:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Request(method, unquote(parts.path), query, headers, reader, writer, shop)


async def _missing(request: Request) -> None:
    await request.answer("404 Not Found", b"nothing here\n")


async def _api(request: Request) -> None:
    """JSON of about `size` bytes; what is sent along is read and thrown away."""
    received = await request.drain()
    await request.shop.work(0.001, 0.03)
    wanted = _number(request.query.get("size"), int(request.shop.rng.lognormvariate(6.5, 1.0)))
    body = json.dumps({"received": received, "data": "0" * max(0, wanted - 32)}).encode()
    await request.answer("200 OK", body, "Content-Type: application/json")


async def _login(request: Request) -> None:
    """The form on GET; on POST a page that says no after a while, or a cookie and the way in."""
    form = parse_qs(b"".join([piece async for piece in request.body()]).decode(errors="replace"))
    if request.method != "POST":
        await request.answer("200 OK", b"<form method=post>user password</form>" + b" " * 1800)
        return
    await request.shop.work(0.08, 0.25)
    user, password = form.get("user", [""])[-1], form.get("password", [""])[-1]
    if ACCOUNTS.get(user) == password:
        await request.answer("302 Found", b"", "Location: /page-1.html", f"Set-Cookie: session={'f' * 32}")
    else:
        await request.answer("200 OK", b"<p>Wrong user or password.</p>" + b" " * 1700)


async def _search(request: Request) -> None:
    wanted = request.query.get("q", "")
    await _show(request, f"select * from product where name like '%{wanted}%' limit 20", f"<h1>{wanted}</h1>")  # noqa: S608 - as weak as the attacks of the lab need it


async def _product(request: Request) -> None:
    await _show(request, f"select * from product where id = {request.query.get('id', '1')}", "")  # noqa: S608 - the same


async def _show(request: Request, sql: str, heading: str) -> None:
    await request.shop.work(0.002, 0.04)
    try:
        rows = request.shop.rows(sql)
    except (sqlite3.Error, sqlite3.Warning) as error:
        await request.answer("500 Internal Server Error", f"<p>{error} in {sql}</p>".encode())
        return
    table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    status = "200 OK" if rows else "404 Not Found"
    await request.answer(status, f"<html>{heading}<table>{table}</table>{'<p>footer</p>' * 150}</html>".encode())


async def _document(request: Request) -> None:
    """A document by name; the names lead out of the folder, to made-up files."""
    path = posixpath.normpath(posixpath.join("/srv/site/documents", request.query.get("name", "terms.txt")))
    sizes = {"/srv/site/documents/terms.txt": 9000, "/srv/site/documents/prices.txt": 30_000, "/etc/passwd": 1600}
    if path not in sizes:
        await _missing(request)
        return
    await request.answer("200 OK", b"a made-up line\n" * (sizes[path] // 15))


async def _upload(request: Request) -> None:
    received = await request.drain()
    await request.shop.work(0.005, 0.05)
    await request.answer("201 Created", json.dumps({"received": received}).encode())


async def _bytes(request: Request) -> None:
    """/bytes/N: so many bytes."""
    left = min(_number(request.path.rpartition("/")[2], 1000), _LARGEST_ANSWER)
    request.writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {left}\r\nConnection: close\r\n\r\n".encode())
    while left:
        request.writer.write(_BLOCK[:left])
        left -= min(left, len(_BLOCK))
        await request.writer.drain()


async def _chat(request: Request) -> None:
    """A WebSocket that echoes, and now and then says something by itself."""
    key = request.headers.get("sec-websocket-key", "")
    headers = [f"Sec-WebSocket-Accept: {websocket.accept(key)}", "Upgrade: websocket", "Connection: Upgrade", "\r\n"]
    request.writer.write("\r\n".join(["HTTP/1.1 101 Switching Protocols", *headers]).encode())
    talking = asyncio.create_task(_talk(request))
    try:
        while True:
            opcode, payload = await websocket.receive(request.reader)
            if opcode == websocket.CLOSE:
                return
            request.writer.write(websocket.frame(payload, websocket.ANSWERS.get(opcode, opcode)))
            await request.writer.drain()
    finally:
        talking.cancel()


async def _talk(request: Request) -> None:
    every_s = float(_number(request.query.get("every_s"), 8))
    while True:
        await asyncio.sleep(request.shop.rng.expovariate(1 / every_s))
        request.writer.write(websocket.frame(bytes(int(request.shop.rng.lognormvariate(4.5, 1.0)) % 4000 + 1)))


def _number(given: str | None, default: int) -> int:
    return min(int(given), _LARGEST_ANSWER) if given and given.isdecimal() else default


ROUTES: dict[str, Callable[[Request], Awaitable[None]]] = {
    "api": _api,
    "login": _login,
    "search": _search,
    "product": _product,
    "document": _document,
    "upload": _upload,
    "bytes": _bytes,
    "chat": _chat,
}
