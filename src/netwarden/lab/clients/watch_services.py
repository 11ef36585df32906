"""A monitor that looks on the beat whether services are there: many ports of many hosts, awkwardly like a scan.

Options: `to` (hosts), `ports` (a list; some may be closed), `udp_ports` (asked too; silence is fine), `greet` (true:
wait for the service's first words), `gap_s` [0.005, 0.1] between ports, `order` (shuffled or sorted).
"""

from __future__ import annotations

import socket
from contextlib import suppress

from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    """One round over all hosts and ports."""
    hosts = s.option("to")
    looks = [(host, port, "tcp") for host in hosts for port in s.option("ports", ())]
    looks += [(host, port, "udp") for host in hosts for port in s.option("udp_ports", ())]
    if s.option("order", "shuffled") == "shuffled":
        s.rng.shuffle(looks)
    for host, port, protocol in looks:
        open_ = (_tcp if protocol == "tcp" else _udp)(s, s.part.at(host), port)
        s.count(looks=1, open=int(open_))
        if not s.pause(s.between("gap_s", 0.005, 0.1)):
            return


def _tcp(s: Session, address: str, port: int) -> bool:
    try:
        over = socket.create_connection((address, port), 1.5)
    except OSError:
        return False
    with over, suppress(OSError):  # a service may wait for us to speak first, or hang up
        if s.option("greet", True):
            over.settimeout(s.rng.uniform(0.05, 0.3))
            over.recv(200)
    return True


def _udp(s: Session, address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as over:
        over.connect((address, port))
        over.settimeout(0.3)
        over.send(s.rng.randbytes(s.rng.randint(30, 80)))
        try:
            over.recv(2000)
        except OSError:
            return False
    return True


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
