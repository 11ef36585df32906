"""Our own slow HTTP client: each connection sends, or reads, a little now and then and never comes to an end.

Options: `kind` (headers, body, read), `connections`, `rate` (of new ones a second, default 5), `every_s` [3, 8] between
pieces, `piece_bytes` [1, 30], `path`, `window_bytes` (2048: of a slow reader), `tls`, `hold_s` (no limit but the end).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from netwarden.lab.attacks import targets
from netwarden.lab.clients.sessions import trusting
from netwarden.lab.play import Part, enter

_HEADS = {
    "headers": "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\n",
    "body": "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 60000\r\n\r\n",
    "read": "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n",
}
_PATHS = {"headers": "/", "body": "/login", "read": "/bytes/900000"}
_MOST_CONNECTIONS = 500
_BUFFER_BYTES = 512  # or else Python would read ahead what a slow reader leaves lying


def main() -> None:
    part = enter()
    pieces = asyncio.run(_hold(part))
    part.report(connections=len(pieces), pieces=sum(pieces))


async def _hold(part: Part) -> list[int]:
    """Pieces that each connection sent or read."""
    going, hosts = list[asyncio.Task[int]](), targets.addresses(part)
    for nth in range(min(part.options["connections"], _MOST_CONNECTIONS)):
        going.append(asyncio.create_task(_connect(part, hosts[nth % len(hosts)])))
        await asyncio.sleep(min(part.rng.expovariate(part.options.get("rate", 5)), part.remaining()))
    return list(await asyncio.gather(*going))


async def _connect(part: Part, address: str) -> int:
    options, done = part.options, 0
    kind, tls = options["kind"], trusting() if options.get("tls") else None
    with contextlib.suppress(OSError, TimeoutError):
        plain = await _open(address, options.get("port", 443 if tls else 80), options)
        name = address if tls else None
        reader, writer = await asyncio.open_connection(sock=plain, ssl=tls, server_hostname=name, limit=_BUFFER_BYTES)
        writer.write(_HEADS[kind].format(path=options.get("path", _PATHS[kind]), host=address).encode())
        async with asyncio.timeout(min(options.get("hold_s", 3600.0), part.remaining())):
            while not reader.at_eof():
                await asyncio.sleep(part.rng.uniform(*options.get("every_s", (3.0, 8.0))))
                await _piece(part, kind, reader, writer)
                done += 1
        writer.close()
    return done


async def _open(address: str, port: int, options: dict[str, object]) -> socket.socket:
    """A connected socket; that of a slow reader offers a small window."""
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    plain.setblocking(False)
    if options["kind"] == "read":
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(str(options.get("window_bytes", 2048))))
    try:
        await asyncio.get_running_loop().sock_connect(plain, (address, port))
    except OSError:
        plain.close()
        raise
    return plain


async def _piece(part: Part, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = part.rng.randint(*part.options.get("piece_bytes", (1, 30)))
    if kind == "read":
        await reader.read(size)
        return
    writer.write(b"X-%d: %s\r\n" % (part.rng.randint(1, 99_999), b"a" * size) if kind == "headers" else b"a" * size)
    await writer.drain()


if __name__ == "__main__":
    main()
