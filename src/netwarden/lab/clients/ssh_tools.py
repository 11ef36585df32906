"""OpenSSH's own programs, logging in with a password of the lab."""

from __future__ import annotations

import os
from pathlib import Path

from netwarden.lab.clients.sessions import Session
from netwarden.lab.services.accounts import ACCOUNTS

PACKAGES = ("ssh=openssh-client", "scp=openssh-client", "rsync")


def options(s: Session) -> list[str]:
    """What ssh and scp need to log in without asking and without keeping anything."""
    settings = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=10"]
    settings += ["NumberOfPasswordPrompts=1", "PreferredAuthentications=password", f"Port={s.port or 22}"]
    return ["-F", "none", *(word for setting in settings for word in ("-o", setting))]


def user(s: Session) -> str:
    """Who logs in: the option `user`, or somebody."""
    return str(s.option("user") or s.rng.choice(("alice", "bruno", "chen", "deploy")))


def answer_password(s: Session, name: str, password: str = "") -> dict[str, str]:
    """An environment in which ssh asks a script, which says the account's password (or the given one)."""
    script = Path(f"say-{name}-{s.number}")
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{password or ACCOUNTS[name]}\nEND\n", encoding="utf-8")
    script.chmod(0o700)
    return {**os.environ, "SSH_ASKPASS": str(script.resolve()), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": "none"}
