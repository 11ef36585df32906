"""People who chat over a WebSocket: hardly any traffic for a long time, both sides may speak, pings on the beat.

Options: `minutes` [0.5, 3], `say_s` (mean 6), `ping_s` (15), `tls`, `path` (/chat?every_s=8).
"""

from __future__ import annotations

import base64
import socket
import time

from netwarden.lab.clients.sessions import Session, play
from netwarden.lab.services import websocket


def session(s: Session) -> None:
    ends, ping_s = time.time() + s.between("minutes", 0.5, 3) * 60, float(s.option("ping_s", 15))
    with s.connect() as over:
        _shake_hands(s, over)
        over.settimeout(0.2)
        say_at, ping_at = time.time() + 1, time.time() + ping_s
        while (now := time.time()) < ends and s.part.remaining() > 0:
            if now >= say_at:
                over.sendall(_frame(s, bytes(int(min(s.rng.lognormvariate(4, 1), 3000)) + 1)))
                say_at = now + s.rng.expovariate(1 / float(s.option("say_s", 6)))
            if now >= ping_at:
                over.sendall(_frame(s, b"", websocket.PING))
                ping_at += ping_s
            _listen(s, over)
        over.settimeout(2)
        over.sendall(_frame(s, b"\x03\xe8", websocket.CLOSE))


def _shake_hands(s: Session, over: socket.socket) -> None:
    key = base64.b64encode(s.rng.randbytes(16)).decode()
    lines = [f"GET {s.option('path', '/chat?every_s=8')} HTTP/1.1", f"Host: {s.host}", "Upgrade: websocket"]
    lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "\r\n"]
    over.sendall("\r\n".join(lines).encode())
    if b" 101 " not in over.recv(4096):
        raise ConnectionError("the server does not switch to WebSocket")


def _frame(s: Session, payload: bytes, opcode: int = websocket.TEXT) -> bytes:
    s.count(messages=1)
    return websocket.frame(payload, opcode, mask=s.rng.randbytes(4))


def _listen(s: Session, over: socket.socket) -> None:
    try:
        received = over.recv(65_536)
    except TimeoutError:
        return
    if not received:
        raise ConnectionError("the server hung up")
    s.count(bytes_in=len(received))


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
