"""Devices that speak MQTT: they connect once, publish readings on the beat and ping the broker in between.

Options: `minutes` [60, 60] they stay, `publish_s` (10) and `stray` (0: share of the beat), `bytes` [20, 200] a
reading, `ping_s` (15), `subscribe` (false), `reconnect` (false: one connection; true: a new one for every reading).
"""

from __future__ import annotations

import socket
import struct
import time

from netwarden.lab.clients.sessions import Session, play

_PINGREQ, _DISCONNECT = b"\xc0\x00", b"\xe0\x00"


def session(s: Session) -> None:
    ends = time.time() + s.between("minutes", 60, 60) * 60
    while time.time() < ends and s.part.remaining() > 0:
        with s.connect(s.port or 1883) as over:
            _join(s, over)
            _stay(s, over, ends)
            over.sendall(_DISCONNECT)
        if s.option("reconnect", False):
            s.pause(_beat(s))


def _join(s: Session, over: socket.socket) -> None:
    name = f"{s.part.host}-{s.number}-{s.rng.randrange(10**6)}".encode()
    over.sendall(_packet(0x10, _text(b"MQTT") + b"\x04\x02" + struct.pack("!H", 60) + _text(name)))
    if over.recv(4)[:1] != b"\x20":
        raise ConnectionError("the broker does not let us in")
    if s.option("subscribe", False):
        over.sendall(_packet(0x82, b"\0\1" + _text(b"things/#") + b"\0"))


def _stay(s: Session, over: socket.socket, ends: float) -> None:
    """Publish and ping until the end; after the first reading where every reading has its own connection."""
    now = time.time()
    publish_at, ping_at, ping_s = now, now + float(s.option("ping_s", 15)), float(s.option("ping_s", 15))
    while (now := time.time()) < ends and s.part.remaining() > 0:
        if now >= publish_at:
            reading = bytes(round(s.between("bytes", 20, 200)))
            over.sendall(_packet(0x30, _text(f"things/{s.part.host}".encode()) + reading))
            s.count(readings=1)
            if s.option("reconnect", False):
                return
            publish_at = now + _beat(s)
        if now >= ping_at:
            over.sendall(_PINGREQ)
            ping_at = now + ping_s
        _listen(over, max(0.01, min(publish_at, ping_at) - time.time()))


def _beat(s: Session) -> float:
    return float(s.option("publish_s", 10)) * (1 + s.rng.uniform(-1, 1) * float(s.option("stray", 0)))


def _listen(over: socket.socket, wait_s: float) -> None:
    over.settimeout(wait_s)
    try:
        if not over.recv(65_536):
            raise ConnectionError("the broker hung up")
    except TimeoutError:
        return
    finally:
        over.settimeout(5)


def _text(text: bytes) -> bytes:
    return struct.pack("!H", len(text)) + text


def _packet(kind: int, body: bytes) -> bytes:
    """A control packet with its remaining length in the seven-bit pieces of MQTT."""
    length, head = len(body), bytes([kind])
    while length > 127:
        head, length = head + bytes([length % 128 | 128]), length // 128
    return head + bytes([length]) + body


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
