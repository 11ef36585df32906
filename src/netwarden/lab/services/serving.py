"""What the lab's servers share: a real server in the foreground, a TCP server of our own, and certificates."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from netwarden.lab.play import Part

PACKAGES = ("openssl",)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOST = (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError, OSError)


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """A real server as a child process; its messages go to server.log in the working folder."""
    with Path("server.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def run(command: list[str]) -> NoReturn:
    """Run a real server until it is told to stop; where it ends by itself, say what it said."""
    server = start(command)
    try:
        code = server.wait()
    finally:
        server.terminate()
    sys.exit(f"{command[0]} ended with {code}: {Path('server.log').read_text(errors='replace')[-600:]}")


def serve_tcp(part: Part, handler: Handler) -> None:
    """Answer connections with HANDLER, over TLS where the option `tls` says so, until the end."""
    asyncio.run(_serve_tcp(part, handler))


async def _serve_tcp(part: Part, handler: Handler) -> None:
    context = server_context(part) if part.options.get("tls") else None
    server = await asyncio.start_server(forgiving(handler), part.address, part.port, ssl=context, limit=8_000_000)
    async with server:
        await server.serve_forever()


def forgiving(handler: Handler) -> Handler:
    """HANDLER, where a connection that the peer breaks off just ends."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(*LOST):
            await handler(reader, writer)
        with suppress(*LOST):
            writer.close()

    return handle


def server_context(part: Part) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(part))
    return context


def certificate(part: Part) -> tuple[Path, Path]:
    """Certificate and key that the host signs itself; clients that check it refuse it."""
    cert, key = part.folder / "cert.pem", part.folder / "key.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(key), "-out", str(cert), "-subj", f"/CN={part.host}", "-days", "365"]
    subprocess.run(command, capture_output=True, check=True)
    return cert, key
