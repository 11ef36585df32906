"""Streams over UDP: calls (the service answers in kind), screen sharing, and logs that nobody answers.

Options: `seconds` [5, 40] of a session, `rate` [25, 60] datagrams a second, `bytes` [120, 220], `listen` (true).
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    gap_s, ends = 1 / s.between("rate", 25, 60), time.time() + s.between("seconds", 5, 40)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as over:
        over.connect((s.address, s.port))
        over.setblocking(False)
        while time.time() < ends and s.pause(gap_s * s.rng.uniform(0.8, 1.2)):
            with suppress(ConnectionRefusedError):
                over.send(bytes(round(s.between("bytes", 120, 220))))
            s.count(datagrams=1)
            if s.option("listen", True):
                s.count(answers=_drain(over))


def _drain(over: socket.socket) -> int:
    answers = 0
    with suppress(BlockingIOError, ConnectionRefusedError):
        while over.recv(2000):
            answers += 1
    return answers


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
