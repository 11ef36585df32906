"""WebSocket frames (RFC 6455), as little of them as a chat needs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
ANSWERS = {PING: PONG}
_LARGEST = 1_000_000


def accept(key: str) -> str:
    """What the server answers to the client's key."""
    return base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()  # noqa: S324 - the protocol's own


def frame(payload: bytes, opcode: int = TEXT, mask: bytes = b"") -> bytes:
    """One whole frame; clients must give a mask of four bytes."""
    flag, length = (0x80 if mask else 0), len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x80 | opcode, flag | length)
    elif length < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, flag | 126, length)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, flag | 127, length)
    return head + mask + (bytes(byte ^ mask[nth % 4] for nth, byte in enumerate(payload)) if mask else payload)


async def receive(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next frame's opcode and payload."""
    first, second = await reader.readexactly(2)
    length = second & 0x7F
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
    if length > _LARGEST:
        raise ConnectionError(f"a frame of {length} bytes")
    mask = await reader.readexactly(4) if second & 0x80 else b""
    payload = await reader.readexactly(length)
    return first & 0x0F, bytes(byte ^ mask[nth % 4] for nth, byte in enumerate(payload)) if mask else payload
