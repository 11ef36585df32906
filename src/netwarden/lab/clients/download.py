"""Programs that fetch files: software updates, mirrors, and video in segments.

Options: `files` [1, 4] of a session, `mb` [1, 2, 4] (sizes to choose from: 1, 2, 4, 8, 16, 32, 64), `index` (true: ask
for a list first), `pace_mbit` [0, 0] (0: as fast as it goes), `gap_s` [0, 0.5] between files, `reconnect` (false) and
`tls`.
With `segment_kb` [200, 900] instead of `mb` the files are segments of that size, as in video.
"""

from __future__ import annotations

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    over = web.connection(s)
    try:
        if s.option("index", True):
            web.fetch(s, over, f"/api/index?size={s.rng.randint(2_000, 60_000)}")
        for _ in range(round(s.between("files", 1, 4))):
            web.fetch(s, over, _file(s), pace_bps=s.between("pace_mbit", 0, 0) * 1e6)
            if s.option("reconnect", False):
                over.close()
            if not s.pause(s.between("gap_s", 0, 0.5)):
                return
    finally:
        over.close()


def _file(s: Session) -> str:
    if s.option("segment_kb"):
        return f"/bytes/{round(s.between('segment_kb', 200, 900) * 1000)}"
    return f"/files/{s.rng.choice(s.option('mb', (1, 2, 4)))}.bin"


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
