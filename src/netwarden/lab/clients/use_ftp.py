"""Programs that exchange files over FTP, passive: lists, downloads, uploads.

Options: `files` [1, 4] of a session, `mb` [0.05, 3] per file sent, `user`, `gap_s` [0.2, 2].
"""

from __future__ import annotations

import ftplib
import io

from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play
from netwarden.lab.clients.ssh_tools import user
from netwarden.lab.services.accounts import ACCOUNTS


def session(s: Session) -> None:
    name = user(s)
    with ftplib.FTP(timeout=TIMEOUT_S) as ftp:  # noqa: S321 - in the lab only, where FTP is what we want to see
        ftp.connect(s.address, s.port or 21)
        ftp.login(name, ACCOUNTS[name])
        for nth in range(round(s.between("files", 1, 4))):
            ftp.retrlines("LIST", lambda line: s.count(bytes_in=len(line)))
            if s.rng.random() < 0.5:
                what = s.rng.choice(("notes.txt", "report.bin", "archive.bin"))
                ftp.retrbinary(f"RETR {what}", lambda piece: s.count(bytes_in=len(piece)))
            else:
                body = bytes(int(s.between("mb", 0.05, 3) * 1e6))
                ftp.storbinary(f"STOR from-{s.part.host}-{s.number}-{nth}", io.BytesIO(body))
                s.count(bytes_out=len(body))
            s.count(files=1)
            if not s.pause(s.between("gap_s", 0.2, 2)):
                return


def main() -> None:
    play(session, (ftplib.Error, AttributeError))


if __name__ == "__main__":
    main()
