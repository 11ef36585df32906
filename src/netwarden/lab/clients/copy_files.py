"""Copies over SSH in both directions: scp and rsync, once or a few files in a row.

Options: `with_tool` (scp, rsync or any of both), `direction` (up, down or any), `mb` [0.1, 8] per file sent,
`files` [1, 3], `user`.
"""

from __future__ import annotations

from pathlib import Path

from netwarden.lab.clients import ssh_tools, tools
from netwarden.lab.clients.sessions import Session, play

PACKAGES = ("ssh=openssh-client", "scp=openssh-client", "rsync")


def session(s: Session) -> None:
    name = ssh_tools.user(s)
    environment = ssh_tools.answer_password(s, name)
    for nth in range(round(s.between("files", 1, 3))):
        command = _command(s, f"{name}@{s.address}", f"copy-{s.number}-{nth}")
        tools.must_run(s, command, environment)
        s.count(copies=1)
        if not s.pause(0.2, 2.0):
            return


def _command(s: Session, account: str, file_name: str) -> list[str]:
    down = s.option("direction", s.rng.choice(("up", "down"))) == "down"
    if down:
        ends = [f"{account}:{s.rng.choice(('notes.txt', 'report.bin', 'archive.bin'))}", file_name]
    else:
        with Path(file_name).open("wb") as file:
            file.truncate(int(s.between("mb", 0.1, 8) * 1e6))
        ends = [file_name, f"{account}:from-{s.part.host}-{file_name}"]
    if s.option("with_tool", s.rng.choice(("scp", "rsync"))) == "scp":
        return ["scp", "-q", *ssh_tools.options(s), *ends]
    return ["rsync", "-a", "-W", "-e", " ".join(["ssh", *ssh_tools.options(s)]), *ends]


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
