"""Data carried out of the house: in bulk or in crumbs, by HTTP(S), scp or FTP, to hosts that staff send files to.

Options: `by` (http, scp, ftp), `parts` [1, 4] of a session, `part_kb` [200, 1500], `gap_s` [0.1, 1], `pace_mbit` (0: as
fast as it goes), `reconnect` (false), `tls`, and when: `sessions` or `every_s` with `jitter`.
"""

from __future__ import annotations

import ftplib
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from netwarden.lab.clients import ssh_tools, tools, web
from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play
from netwarden.lab.services.accounts import ACCOUNTS, WEAK

PACKAGES = ("ssh=openssh-client", "scp=openssh-client")
_PIECE = 16_384


def session(s: Session) -> None:
    _WAYS[s.option("by", "http")](s)


def _parts(s: Session) -> Iterator[int]:
    """Bytes of each part, at their pace; counted."""
    for nth in range(round(s.between("parts", 1, 4))):
        if nth and not s.pause(s.between("gap_s", 0.1, 1)):
            return
        size = round(s.between("part_kb", 200, 1500) * 1024)
        yield size
        s.count(parts=1, bytes_out=size)


def _http(s: Session) -> None:
    with closing(web.connection(s)) as over:
        for size in _parts(s):
            headers = {"Content-Length": str(size), "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
            over.request("POST", f"/upload/{s.rng.randbytes(6).hex()}", body=_pieces(s, size), headers=headers)
            over.getresponse().read()
            if s.option("reconnect", False):
                over.close()


def _pieces(s: Session, size: int) -> Iterator[bytes]:
    pace_bps = s.option("pace_mbit", 0) * 1e6
    for at in range(0, size, _PIECE):
        piece = s.rng.randbytes(min(_PIECE, size - at))
        yield piece
        if pace_bps:
            s.pause(len(piece) * 8 / pace_bps)


def _scp(s: Session) -> None:
    user = ssh_tools.user(s)
    environment = ssh_tools.answer_password(s, user)
    for size in _parts(s):
        file = Path(f"taken-{s.number}")
        file.write_bytes(s.rng.randbytes(size))
        limit = ["-l", str(round(s.option("pace_mbit") * 1000))] if s.option("pace_mbit") else []
        words = [
            "scp",
            "-q",
            *limit,
            *ssh_tools.options(s),
            file.name,
            f"{user}@{s.address}:copy-{s.part.host}-{s.number}",
        ]
        tools.must_run(s, words, environment)
        file.unlink()


def _ftp(s: Session) -> None:
    with ftplib.FTP(timeout=TIMEOUT_S) as ftp:  # noqa: S321 - in the lab only, where FTP is what we want to see
        ftp.connect(s.address, s.port or 21)
        ftp.login(WEAK, ACCOUNTS[WEAK])
        for size in _parts(s):
            ftp.storbinary(f"STOR copy-{s.part.host}-{s.number}", io.BytesIO(s.rng.randbytes(size)))


_WAYS: dict[str, Callable[[Session], None]] = {"http": _http, "scp": _scp, "ftp": _ftp}


def main() -> None:
    play(session, (*web.FAILS_WITH, ftplib.Error))


if __name__ == "__main__":
    main()
