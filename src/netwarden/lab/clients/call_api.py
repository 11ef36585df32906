"""Programs that ask an API: polls, health checks, telemetry.

Options: `requests` [1, 1] of a session over one connection, `gap_s` [0.5, 2] between them, `gap_jitter`,
`path` (/api/status), `answer_bytes` [100, 4000], `body_bytes` [0, 0] (a POST where above 0), `tls`.
"""

from __future__ import annotations

from contextlib import closing

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    with closing(web.connection(s)) as over:
        for _ in range(round(s.between("requests", 1, 1))):
            path = f"{s.option('path', '/api/status')}?size={round(s.between('answer_bytes', 100, 4000))}"
            body = bytes(round(s.between("body_bytes", 0, 0)))
            web.fetch(s, over, path, "POST" if body else "GET", body or None)
            if not s.pause(s.between("gap_s", 0.5, 2)):
                return


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
