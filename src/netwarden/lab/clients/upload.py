"""Programs that send files to a web server: backups and cloud synchronisation, large, regular and outward.

Options: `parts` [2, 10] of a session, `part_kb` [256, 2048], `gap_s` [0, 0.3], `pace_mbit` [0, 0], `reconnect` (false),
`tls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play

_PIECE = bytes(32_768)


def session(s: Session) -> None:
    over = web.connection(s)
    try:
        web.fetch(s, over, f"/api/inventory?size={s.rng.randint(300, 20_000)}")
        for part in range(round(s.between("parts", 2, 10))):
            _put(s, over, f"/upload/{s.part.host}/{s.number}/{part}", round(s.between("part_kb", 256, 2048) * 1024))
            if s.option("reconnect", False):
                over.close()
            if not s.pause(s.between("gap_s", 0, 0.3)):
                return
    finally:
        over.close()


def _put(s: Session, over: HTTPConnection, path: str, size_bytes: int) -> None:
    pace_bps = s.between("pace_mbit", 0, 0) * 1e6
    over.request("PUT", path, body=_pieces(s, size_bytes, pace_bps), headers={"Content-Length": str(size_bytes)})
    over.getresponse().read()
    s.count(requests=1, bytes_out=size_bytes)


def _pieces(s: Session, size_bytes: int, pace_bps: float) -> Iterator[bytes]:
    for at in range(0, size_bytes, len(_PIECE)):
        yield _PIECE[: size_bytes - at]
        if pace_bps:
            s.pause(len(_PIECE) * 8 / pace_bps)


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
