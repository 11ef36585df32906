"""A bot that asks its master what to do: small, regular, with jitter; now and then it gets a task and sends a result.

Options: `every_s` with `jitter`, `method` (GET or POST), `path` (/api/items), `hello_bytes` [60, 400] sent along,
`answer_bytes` [30, 200], `task` (0.1: share of check-ins with a task), `task_kb` [2, 60] to fetch, `result_kb` [1, 30]
to send, `tls`.
"""

from __future__ import annotations

from contextlib import closing

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    path = s.option("path", "/api/items")
    with closing(web.connection(s)) as over:
        hello = round(s.between("hello_bytes", 60, 400))
        asked = f"{path}?size={round(s.between('answer_bytes', 30, 200))}"
        if s.option("method", "GET") == "POST":
            web.fetch(s, over, asked, "POST", s.rng.randbytes(hello))
        else:
            web.fetch(s, over, f"{asked}&id={s.rng.randbytes(hello // 2).hex()}")
        if s.rng.random() < s.option("task", 0.1):
            web.fetch(s, over, f"{path}?size={round(s.between('task_kb', 2, 60) * 1024)}")
            s.pause(0.2, 1.5)
            web.fetch(s, over, path, "POST", s.rng.randbytes(round(s.between("result_kb", 1, 30) * 1024)))
            s.count(tasks=1)


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
