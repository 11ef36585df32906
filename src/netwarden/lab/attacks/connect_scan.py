"""A small port scanner: connects, several at a time, and closes, or waits for what the service says first.

Options: `ports`, `parallel` (10), `gap_s` [0, 0.02] after each look, `wait_s` (1), `greet` (false), `shuffled` (true).
"""

from __future__ import annotations

import asyncio
import contextlib

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter


def main() -> None:
    part = enter()
    looks = [(address, port) for address in targets.addresses(part) for port in targets.ports(part.options["ports"])]
    if part.options.get("shuffled", True):
        part.rng.shuffle(looks)
    found = asyncio.run(_scan(part, looks))
    part.report(looks=len(found), open=sum(found))


async def _scan(part: Part, looks: list[tuple[str, int]]) -> list[bool]:
    """For each look that there was time for, whether the port was open."""
    left, found = iter(looks), list[bool]()

    async def work() -> None:
        for address, port in left:
            if part.remaining() <= 0:
                return
            found.append(await _look(part, address, port))
            await asyncio.sleep(part.rng.uniform(*part.options.get("gap_s", (0.0, 0.02))))

    await asyncio.gather(*(work() for _ in range(part.options.get("parallel", 10))))
    return found


async def _look(part: Part, address: str, port: int) -> bool:
    wait_s = part.options.get("wait_s", 1.0)
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), wait_s)
    except (OSError, TimeoutError):
        return False
    with contextlib.suppress(OSError, TimeoutError):
        if part.options.get("greet"):
            await asyncio.wait_for(reader.read(200), wait_s)
        writer.close()
        await writer.wait_closed()
    return True


if __name__ == "__main__":
    main()
