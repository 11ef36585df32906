"""People at a terminal over SSH: keystrokes with gaps between them, commands, their output, thoughts.

Options: `commands` [3, 12] of a session, `think_s` (mean 4), `key_s` (mean 0.12, between keystrokes), `user`.
"""

from __future__ import annotations

from collections.abc import Iterator

from netwarden.lab.clients import ssh_tools, tools
from netwarden.lab.clients.sessions import Session, play

PACKAGES = ("ssh=openssh-client",)

_COMMANDS = (
    *("ls -la", "cat notes.txt | head -c 4000", "uptime", "df -h", "ps aux", "find /etc -maxdepth 1", "id", "env"),
    *("date", "ls", "head -c 20000 notes.txt | od -c | head -50", "ls /usr/bin"),
)


def session(s: Session) -> None:
    name = ssh_tools.user(s)
    command = ["ssh", "-tt", *ssh_tools.options(s), f"{name}@{s.address}"]
    tools.feed(s, command, _keys(s), ssh_tools.answer_password(s, name))


def _keys(s: Session) -> Iterator[str]:
    s.pause(1.0, 2.5)  # logging in
    for _ in range(round(s.between("commands", 3, 12))):
        for key in s.rng.choice(_COMMANDS) + "\n":
            yield key
            s.think("key_s", 0.12)
        s.count(commands=1)
        if not s.think("think_s", 4):
            return
    yield "exit 0\n"


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
