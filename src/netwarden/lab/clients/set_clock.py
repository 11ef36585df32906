"""Machines that ask for the time over NTP; each session asks once, or `burst` times two seconds apart."""

from __future__ import annotations

import socket

from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as over:
        over.connect((s.address, s.port or 123))
        over.settimeout(2.0)
        for _ in range(int(s.option("burst", 1))):
            over.send(b"\x23" + bytes(39) + s.rng.randbytes(8))
            s.count(questions=1, bytes_in=len(over.recv(200)))
            if not s.pause(2.0):
                return


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
