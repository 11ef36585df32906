"""Peers that talk over UDP with many others from one port: short questions, now and then a burst of data.

Options: `to` (all the peers), `port`, `rounds` [5, 40] of a session, `gap_s` [0.05, 1], `bytes` [40, 300],
`burst` (0.1: share of rounds with 10 to 60 datagrams of up to 1200 bytes).
"""

from __future__ import annotations

import socket

from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    peers = [host for host in s.option("to") if host != s.part.host]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as over:
        over.settimeout(0.02)
        for _ in range(round(s.between("rounds", 5, 40))):
            address = (s.part.at(s.rng.choice(peers)), s.port)
            for size in _sizes(s):
                over.sendto(bytes(size), address)
                s.count(datagrams=1, answers=int(_heard(over)))
            if not s.pause(s.between("gap_s", 0.05, 1)):
                return


def _sizes(s: Session) -> list[int]:
    if s.rng.random() < s.option("burst", 0.1):
        return [s.rng.randint(400, 1200) for _ in range(s.rng.randint(10, 60))]
    return [round(s.between("bytes", 40, 300))]


def _heard(over: socket.socket) -> bool:
    try:
        return bool(over.recv(2000))
    except OSError:  # silence, or word that a peer is gone
        return False


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
