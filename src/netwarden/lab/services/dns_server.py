"""A resolver over UDP and TCP that knows an answer to every name, late for names it has not been asked before.

Names that end in .invalid or .home, and a few others, do not exist. Address names have one to four addresses (which
nobody can reach: nothing but the scenario's hosts exists), some behind an alias. TXT and NULL are as long as the name
decides; a label like `s300` in the name asks for about 300 bytes. Option `slow_ms` [8, 120]: how long a new name takes.
"""

from __future__ import annotations

import asyncio
import random
import re
import struct

from netwarden.lab.play import Part, enter
from netwarden.lab.services.datagrams import Send, serve_udp
from netwarden.lab.services.serving import forgiving

A, CNAME, NULL, MX, TXT, AAAA = 1, 5, 10, 15, 16, 28
_LARGEST_UDP = 1232
_TTL_S = 300


class Resolver:
    """Answers by name, and remembers which names it has been asked."""

    def __init__(self, part: Part) -> None:
        self.rng, self.known = part.rng, set[str]()
        self.slow_ms = part.options.get("slow_ms", (8, 120))

    async def resolve(self, query: bytes, largest: int = 65_000) -> bytes:
        """The answer to one message; empty for what is no question."""
        try:
            name, kind, end = _question(query)
        except (IndexError, struct.error):
            return b""
        await asyncio.sleep(self.rng.uniform(*self.slow_ms) / 1000 if name not in self.known else 0.0002)
        self.known.add(name)
        missing = does_not_exist(name)
        records = [] if missing else _records(name, kind)
        body = b"".join(records)
        if 12 + end + len(body) > largest:
            return query[:2] + struct.pack("!HHHHH", 0x8380, 1, 0, 0, 0) + query[12:end]  # cut: ask again over TCP
        head = struct.pack("!HHHHH", 0x8183 if missing else 0x8180, 1, len(records), 0, 0)
        return query[:2] + head + query[12:end] + body


def main() -> None:
    part = enter()
    resolver = Resolver(part)

    async def answer(query: bytes, send: Send) -> None:
        if reply := await resolver.resolve(query, _LARGEST_UDP):
            send(reply)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            size = int.from_bytes(await reader.readexactly(2))
            reply = await resolver.resolve(await reader.readexactly(size))
            writer.write(len(reply).to_bytes(2) + reply)
            await writer.drain()

    async def both() -> None:
        await asyncio.start_server(forgiving(stream), part.address, part.port)
        await serve_udp(part, answer)

    asyncio.run(both())


def does_not_exist(name: str) -> bool:
    """Whether the resolver says NXDOMAIN to the name."""
    return name.endswith((".invalid", ".home")) or random.Random(name).random() < 0.01  # noqa: S311 - by name, the same each time


def _question(query: bytes) -> tuple[str, int, int]:
    """Name, type, and where the question ends."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), struct.unpack_from("!H", query, at + 1)[0], at + 5


def _records(name: str, kind: int) -> list[bytes]:
    rng = random.Random(f"{name}/{kind}")  # noqa: S311 - by name, the same each time
    asked = re.search(r"(?:^|\.)s(\d{1,4})\.", name)
    size = min(int(asked[1]), 4000) if asked else rng.choice((30, 60, 120, 250, 400))
    if kind in (A, AAAA):
        alias = [_record(CNAME, _encode(f"edge-{rng.randint(1, 900)}.{name}"))] if rng.random() < 0.3 else []
        many = max(rng.randint(1, 4), size // 16 if asked else 0)
        return alias + [_record(kind, rng.randbytes(4 if kind == A else 16)) for _ in range(many)]
    data = {
        TXT: _text(rng.randbytes(size).hex()[:size].encode()),
        NULL: rng.randbytes(size),
        MX: struct.pack("!H", 10) + _encode(f"mail.{name}"),
        CNAME: _encode(f"{rng.randbytes(min(size, 60) // 2).hex()}.{name}"),
    }
    return [_record(kind, data[kind])] if kind in data else []


def _text(text: bytes) -> bytes:
    pieces = [text[at : at + 255] for at in range(0, len(text), 255)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("!HHHIH", 0xC00C, kind, 1, _TTL_S, len(data)) + data


def _encode(name: str) -> bytes:
    labels = [label[:63].encode() for label in name[-200:].split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


if __name__ == "__main__":
    main()
