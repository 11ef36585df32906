"""A load test, or a crawler in a hurry: many short requests at a given rate, awkwardly like a flood.

Options: `rate` (20 requests a second), `for_s` [3, 8], `paths` (pages and searches), `reconnect` (true: one connection
each), `tls`.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from threading import local

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play

_PATHS = (
    "/page-{n}.html",
    "/page-{n}.html",
    "/assets/{n}.css",
    "/search?q=lamp+{n}",
    "/product?id={n}",
    "/api/list?size=900",
)


def session(s: Session) -> None:
    rate, asked, kept = float(s.option("rate", 20)), list[Future[None]](), local()
    with ThreadPoolExecutor(16) as pool:
        for _ in range(int(rate * s.between("for_s", 3, 8))):
            path = s.rng.choice(s.option("paths", _PATHS)).format(n=s.rng.randint(1, 30))
            asked.append(pool.submit(_ask, s, path, kept))
            if not s.pause(s.rng.expovariate(rate)):
                pool.shutdown(cancel_futures=True)
                return
        for one in asked:
            one.result()


def _ask(s: Session, path: str, kept: local) -> None:
    if s.option("reconnect", True):
        with closing(web.connection(s)) as over:
            web.fetch(s, over, path)
        return
    kept.over = getattr(kept, "over", None) or web.connection(s)
    web.fetch(s, kept.over, path)


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
