"""ICMP echo: people and monitors who look whether a host is there.

Options: `times` [1, 10], `gap_s` (0.2 to 1, as ping -i), `bytes` (56).
"""

from __future__ import annotations

from netwarden.lab.clients import tools
from netwarden.lab.clients.sessions import Session, play

PACKAGES = ("ping=iputils-ping",)


def session(s: Session) -> None:
    times, gap_s = round(s.between("times", 1, 10)), max(0.2, s.between("gap_s", 0.2, 1))
    command = ["ping", "-n", "-q", "-c", str(times), "-i", f"{gap_s:.2f}", "-s", str(s.option("bytes", 56)), s.address]
    if (code := tools.run(s, command)) and (code > 1 or times > 3):  # one or two pings may get lost
        raise ConnectionError(f"ping ended with {code}")
    s.count(pings=times)


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
