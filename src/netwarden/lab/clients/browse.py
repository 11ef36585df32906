"""People who browse: pages with their assets over parallel connections, thoughts between them, a download now and then.

Options: `pages` [2, 8] of a visit, `think_s` (mean 6), `parallel` [2, 6] connections, `tls`, shares `missing` (0.04),
`redirect` (0.08), `search` (0.1) and `download` (0.03, of 1 to 4 MB).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection

from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play


def session(s: Session) -> None:
    """One visit: the connections stay open from page to page as long as the server lets them."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(web.connection(s))) for _ in range(round(s.between("parallel", 2, 6)))
        ]
        page = f"/page-{s.rng.randint(1, 30)}.html"
        for _ in range(round(s.between("pages", 2, 8))):
            seen = web.fetch(s, connections[0], _strays(s) or page)
            if seen.location:
                seen = web.fetch(s, connections[0], seen.location)
            _load(s, connections, seen.assets)
            page = s.rng.choice(seen.links or [page])
            if not s.think("think_s", 6):
                return


def _strays(s: Session) -> str:
    """Now and then, a path that is not the page next in turn."""
    number = s.rng.randint(1, 30)
    paths = {
        f"/old/article-{number}.html": s.option("missing", 0.04),
        f"/go/{number}": s.option("redirect", 0.08),
        f"/search?q={s.rng.choice(('lamp', 'chair', 'clock', 'green+carpet', 'O%27Hara'))}": s.option("search", 0.1),
        f"/files/{s.rng.choice((1, 1, 2, 4))}.bin": s.option("download", 0.03),
    }
    drawn = s.rng.random()
    for path, share in paths.items():
        if drawn < share:
            return path
        drawn -= share
    return ""


def _load(s: Session, connections: Sequence[HTTPConnection], assets: Sequence[str]) -> None:
    """The page's assets (those not cached), spread over the connections."""
    wanted = [asset for asset in assets if s.rng.random() < 0.7]
    with ThreadPoolExecutor(len(connections)) as pool:
        for done in [
            pool.submit(_line, s, over, wanted[nth :: len(connections)]) for nth, over in enumerate(connections)
        ]:
            done.result()


def _line(s: Session, over: HTTPConnection, paths: Sequence[str]) -> None:
    for path in paths:
        web.fetch(s, over, path)


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
