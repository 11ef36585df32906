"""People and programs that query PostgreSQL: psql with statements small and large, thoughts between them.

Options: `statements` [3, 20] of a session, `think_s` (mean 0.8), `bulk` (0.1: share that fetch thousands of rows).
"""

from __future__ import annotations

from collections.abc import Iterator

from netwarden.lab.clients import tools
from netwarden.lab.clients.sessions import Session, play

PACKAGES = ("psql=postgresql-client",)


def session(s: Session) -> None:
    where = ["-h", s.address, "-p", str(s.port or 5432), "-U", "lab", "-d", "postgres"]
    tools.feed(s, ["psql", "-X", "-q", *where], _statements(s))


def _statements(s: Session) -> Iterator[str]:
    small = ("select {n} as id, now();\n", "select count(*) from pg_class;\n", "select md5('{n}');\n")
    bulk = "select n, repeat('row', 20) from generate_series(1, {n}) n;\n"
    for _ in range(round(s.between("statements", 3, 20))):
        statement = bulk if s.rng.random() < s.option("bulk", 0.1) else s.rng.choice(small)
        yield statement.format(n=s.rng.randint(500, 20_000))
        s.count(statements=1)
        if not s.think("think_s", 0.8):
            return


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
