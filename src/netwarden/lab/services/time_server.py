"""An NTP server that answers each question with the machine's time."""

from __future__ import annotations

import asyncio
import struct
import time

from netwarden.lab.play import enter
from netwarden.lab.services.datagrams import Send, serve_udp

_SINCE_1900_S = 2_208_988_800


def main() -> None:
    part = enter()
    asyncio.run(serve_udp(part, answer))


async def answer(question: bytes, send: Send) -> None:
    """The 48 bytes of RFC 5905: stratum 2, our time as reference, receive and transmit time."""
    if len(question) < 48:
        return
    now = int((time.time() + _SINCE_1900_S) * 2**32)
    head = struct.pack("!BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"LAB ")
    send(head + struct.pack("!Q", now) + question[40:48] + struct.pack("!QQ", now, now))


if __name__ == "__main__":
    main()
