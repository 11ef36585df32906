"""Misconfigured programs that fail and try again: awkwardly like scans and guessed passwords, and benign.

Option `fault` says what is wrong: closed_port (refused, or no answer at all), ssh, ftp, http, imap (an old password,
over and over), certificate (does not trust the server's), database (an unknown database).
Options: `tries` [1, 3] of a session, `gap_s` [1, 5], `user` (monitor), `tls` for http.
"""

from __future__ import annotations

import ftplib
import imaplib
import socket
import ssl
from collections.abc import Callable
from contextlib import closing

from netwarden.lab.clients import ssh_tools, tools, web
from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play

PACKAGES = ("ssh=openssh-client", "psql=postgresql-client")

_OLD_PASSWORD = "last-Summer-11"  # noqa: S105 - wrong on purpose


def session(s: Session) -> None:
    for _ in range(round(s.between("tries", 1, 3))):
        s.count(tries=1)
        s.count(refused=int(_FAULTS[s.option("fault", "closed_port")](s)))
        if not s.pause(s.between("gap_s", 1, 5)):
            return


def _closed_port(s: Session) -> bool:
    try:
        s.connect().close()
    except OSError:
        return True
    return False


def _ssh(s: Session) -> bool:
    name = str(s.option("user", "monitor"))
    environment = ssh_tools.answer_password(s, name, _OLD_PASSWORD)
    return tools.run(s, ["ssh", *ssh_tools.options(s), f"{name}@{s.address}", "true"], environment) != 0


def _database(s: Session) -> bool:
    where = ["-h", s.address, "-p", str(s.port or 5432), "-U", "lab", "-d", "gone"]
    return tools.run(s, ["psql", *where, "-c", "select 1"]) != 0


def _ftp(s: Session) -> bool:
    with ftplib.FTP(timeout=TIMEOUT_S) as ftp:  # noqa: S321 - in the lab only, where FTP is what we want to see
        ftp.connect(s.address, s.port or 21)
        try:
            ftp.login(str(s.option("user", "monitor")), _OLD_PASSWORD)
        except ftplib.error_perm:
            return True
    return False


def _http(s: Session) -> bool:
    with closing(web.connection(s)) as over:
        form = f"user={s.option('user', 'monitor')}&password={_OLD_PASSWORD}".encode()
        return web.fetch(s, over, "/login", "POST", form).status == 200


def _imap(s: Session) -> bool:
    with imaplib.IMAP4(s.address, s.port or 143, timeout=TIMEOUT_S) as mailbox:
        try:
            mailbox.login(str(s.option("user", "monitor")), _OLD_PASSWORD)
        except imaplib.IMAP4.error:
            return True
    return False


def _certificate(s: Session) -> bool:
    plain = socket.create_connection((s.address, s.port or 443), TIMEOUT_S)
    with plain:
        try:
            ssl.create_default_context().wrap_socket(plain, server_hostname=s.host)
        except ssl.SSLCertVerificationError:
            return True
    return False


_FAULTS: dict[str, Callable[[Session], bool]] = {
    "closed_port": _closed_port,
    "ssh": _ssh,
    "database": _database,
    "ftp": _ftp,
    "http": _http,
    "imap": _imap,
    "certificate": _certificate,
}


def main() -> None:
    play(session, (*web.FAILS_WITH, ftplib.Error, imaplib.IMAP4.error))


if __name__ == "__main__":
    main()
