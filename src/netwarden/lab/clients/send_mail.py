"""Programs that hand mail to a relay: short notes, and messages with attachments.

Options: `messages` [1, 3] over one connection, `attachment` (0.3: share with 50 kB to 3 MB), `tls`.
"""

from __future__ import annotations

import smtplib

from netwarden.lab.clients.sessions import TIMEOUT_S, Session, play, trusting


def session(s: Session) -> None:
    with _relay(s) as relay:
        for _ in range(round(s.between("messages", 1, 3))):
            size = int(min(s.rng.lognormvariate(7, 1), 30_000))
            if s.rng.random() < s.option("attachment", 0.3):
                size = s.rng.randint(50_000, 3_000_000)
            recipients = [f"person-{s.rng.randint(1, 90)}@lab.test" for _ in range(s.rng.randint(1, 4))]
            relay.sendmail(
                "somebody@lab.test", recipients, "Subject: a note\r\n\r\n" + f"{'words ' * 12}\r\n" * (size // 74)
            )
            s.count(messages=1, bytes_out=size)
            if not s.pause(0.1, 1.0):
                return


def _relay(s: Session) -> smtplib.SMTP:
    if s.option("tls"):
        return smtplib.SMTP_SSL(s.address, s.port or 465, s.part.host, timeout=TIMEOUT_S, context=trusting())
    return smtplib.SMTP(s.address, s.port or 25, s.part.host, timeout=TIMEOUT_S)


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
