"""Mail programs that look for new messages: log in, look, fetch some, and leave or stay and look again.

Options: `looks` [1, 3] of a session, `look_s` [5, 20] between them, `fetch` [0, 3] messages a look, `user`, `tls`.
"""

from __future__ import annotations

import imaplib

from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play, trusting
from netwarden.lab.clients.ssh_tools import user
from netwarden.lab.services.accounts import ACCOUNTS


def session(s: Session) -> None:
    name = user(s)
    with _mailbox(s) as mailbox:
        mailbox.login(name, ACCOUNTS[name])
        for _ in range(round(s.between("looks", 1, 3))):
            mailbox.select()
            mailbox.search(None, "UNSEEN")
            for number in range(round(s.between("fetch", 0, 3))):
                _, data = mailbox.fetch(str(38 + number), "(RFC822)")
                s.count(messages=1, bytes_in=sum(len(part[1]) for part in data if isinstance(part, tuple)))
            s.count(looks=1)
            if not s.pause(s.between("look_s", 5, 20)):
                return


def _mailbox(s: Session) -> imaplib.IMAP4:
    if s.option("tls"):
        return imaplib.IMAP4_SSL(s.address, s.port or 993, ssl_context=trusting(), timeout=TIMEOUT_S)
    return imaplib.IMAP4(s.address, s.port or 143, timeout=TIMEOUT_S)


def main() -> None:
    play(session, (imaplib.IMAP4.error,))


if __name__ == "__main__":
    main()
