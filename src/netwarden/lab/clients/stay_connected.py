"""Connections that stay open and idle, with a few bytes on the beat at most: push services, forgotten terminals.

Options: `minutes` [1, 6], `alive_s` (0: never), `speaks` (what it says on opening and to stay alive: redis, http or
nothing), `tls`.
"""

from __future__ import annotations

from contextlib import suppress

from netwarden.lab.clients.sessions import Session, play

_SAYS = {
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "nothing": b"",
    "http": b"GET /api/push?size=20 HTTP/1.1\r\nHost: push\r\n\r\n",
}


def session(s: Session) -> None:
    left_s, alive_s = s.between("minutes", 1, 6) * 60, float(s.option("alive_s", 0))
    ping = _SAYS[s.option("speaks", "nothing")]
    with s.connect() as over:
        over.sendall(ping)
        while left_s > 0 and s.pause(min(left_s, alive_s or left_s)):
            left_s -= alive_s or left_s
            with suppress(TimeoutError):
                over.settimeout(0.05)
                if not over.recv(4096):
                    return  # the server has had enough of it
            if alive_s:
                over.settimeout(5)
                over.sendall(ping)
                s.count(pings=1)


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
