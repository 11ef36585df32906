"""A mail relay that takes every message and keeps none; with the option `tls` it speaks TLS from the start."""

from __future__ import annotations

import asyncio
from functools import partial

from netwarden.lab.play import Part, enter
from netwarden.lab.services.serving import serve_tcp

PACKAGES = ("openssl",)


def main() -> None:
    part = enter()
    serve_tcp(part, partial(_talk, part))


async def _talk(part: Part, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _say(writer, f"220 {part.host} ESMTP")
    while line := await reader.readline():
        command = line[:4].upper().strip()
        if command == b"EHLO":
            await _say(writer, f"250-{part.host}\r\n250-SIZE 50000000\r\n250-8BITMIME\r\n250 PIPELINING")
        elif command == b"DATA":
            await _say(writer, "354 go on")
            await reader.readuntil(b"\r\n.\r\n")
            await asyncio.sleep(part.rng.uniform(0.01, 0.2))
            await _say(writer, "250 queued")
        elif command == b"QUIT":
            await _say(writer, "221 bye")
            return
        else:
            await asyncio.sleep(part.rng.uniform(0.001, 0.02))
            await _say(writer, "250 ok")


async def _say(writer: asyncio.StreamWriter, line: str) -> None:
    writer.write(f"{line}\r\n".encode())
    await writer.drain()


if __name__ == "__main__":
    main()
