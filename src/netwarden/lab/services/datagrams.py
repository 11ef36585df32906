"""A UDP server: answers each datagram, keeps silent, or talks back as the other side of a call does.

Options: `replies` one (default; an answer of `size` [40, 400] bytes), none, or call (a stream of like rate until the
caller is silent).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from netwarden.lab.play import Part, enter

Send = Callable[[bytes], None]
Answer = Callable[[bytes, Send], Awaitable[None]]


def main() -> None:
    part = enter()
    low, high = part.options.get("size", (40, 400))

    async def one(_question: bytes, send: Send) -> None:
        await asyncio.sleep(part.rng.uniform(0.0002, 0.01))
        send(bytes(part.rng.randint(low, high)))

    async def none(_question: bytes, _send: Send) -> None:
        return

    async def call(question: bytes, send: Send) -> None:
        await asyncio.sleep(part.rng.uniform(0.0, 0.02))
        send(bytes(max(60, int(len(question) * part.rng.uniform(0.7, 1.2)))))

    asyncio.run(serve_udp(part, {"one": one, "none": none, "call": call}[part.options.get("replies", "one")]))


async def serve_udp(part: Part, answer: Answer) -> None:
    """Give every datagram to ANSWER, which may send any number back, until the end."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: _Receiver(answer), local_addr=(part.address, part.port))
    await loop.create_future()


class _Receiver(asyncio.DatagramProtocol):
    """Starts one answer per datagram."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.answers: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.ensure_future(self.answer(data, lambda reply: self.transport.sendto(reply, addr)))
        self.answers.add(task)
        task.add_done_callback(self.answers.discard)


if __name__ == "__main__":
    main()
