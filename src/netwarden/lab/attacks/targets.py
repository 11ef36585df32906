"""Whom and what an attack's options name: addresses, ports, URLs, the words and passwords it goes through.

Options that every attack understands: `to` (a host of the scenario, or several), `port`, `tls`.
"""

from __future__ import annotations

import random
from pathlib import Path

from netwarden.lab.play import Part
from netwarden.lab.services.accounts import ACCOUNTS, WEAK

USERS = (WEAK, "backup", "admin", "root", "alice", "bruno", "chen", "deploy", "test", "oracle", "monitor", "guest")
_COMMON_PASSWORDS = (
    *("123456", "password", "12345678", "qwerty", "letmein", "admin", "welcome", "monkey", "dragon", "football"),
    *("iloveyou", "master", "sunshine", "shadow", "princess", "secret", "root", "toor", "changeme", "backup", "test"),
)
_COMMON_PATHS = (
    *(
        "admin",
        "login",
        "backup",
        "config",
        "db",
        "old",
        "test",
        "dev",
        "api",
        "upload",
        "images",
        "js",
        "css",
        "cgi-bin",
    ),
    *("phpmyadmin", "wp-admin", "wp-login", "server-status", "search", "product", "document", "private", "tmp", "logs"),
    *(
        "data",
        "user",
        "users",
        "account",
        "shop",
        "cart",
        "files",
        "download",
        "static",
        "assets",
        "include",
        "lib",
        "doc",
    ),
    *("docs", "manual", "install", "setup", "panel", "console", "manager", "status", "health", "metrics", "git", "svn"),
    *(
        "env",
        "robots",
        "sitemap",
        "index",
        "home",
        "about",
        "contact",
        "news",
        "blog",
        "forum",
        "mail",
        "webmail",
        "ftp",
    ),
)
_ENDINGS = ("", "", ".php", ".bak", ".old", ".txt", ".html", "-1", "2", "_new", ".zip", ".sql")


def addresses(part: Part) -> list[str]:
    """Addresses of the hosts that the option `to` names."""
    named = part.options["to"]
    return [part.at(host) for host in ([named] if isinstance(named, str) else named)]


def url(part: Part, address: str, path: str = "/") -> str:
    """A URL at one of those hosts."""
    scheme, usual = ("https", 443) if part.options.get("tls") else ("http", 80)
    return f"{scheme}://{address}:{part.options.get('port', usual)}{path}"


def ports(given: str | int) -> list[int]:
    """Ports of a text as nmap takes it: `1-100,443`."""
    found: list[int] = []
    for piece in str(given).split(","):
        low, _, high = piece.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def passwords(rng: random.Random, count: int) -> list[str]:
    """So many passwords that people are known to choose, the weak one of the lab's accounts as the last."""
    drawn = dict.fromkeys(_COMMON_PASSWORDS[: count - 1])
    while len(drawn) < count - 1:
        drawn[f"{rng.choice(_COMMON_PASSWORDS)}{rng.choice(('', '!', '#'))}{rng.randint(1, 2030)}"] = None
    return [*drawn, ACCOUNTS[WEAK]]


def paths(rng: random.Random, count: int) -> list[str]:
    """So many names that sites are known to have, in random order."""
    drawn = dict.fromkeys(rng.sample(_COMMON_PATHS, min(count, len(_COMMON_PATHS))))
    while len(drawn) < count:
        drawn[f"{rng.choice(_COMMON_PATHS)}{rng.choice(_ENDINGS)}{rng.choice(('', rng.randint(1, 99)))}"] = None
    return list(drawn)


def listed(name: str, lines: list[str]) -> str:
    """Name of a file, in the working directory, that holds the lines."""
    Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return name
