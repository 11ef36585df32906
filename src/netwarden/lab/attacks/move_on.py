"""Lateral movement: from a taken-over host, with an account that works, to its neighbours: a look, a login, a file.

Options: `probe` ([22, 445, 3389]: ports looked at first), `user` (the weak account), `logins` [1, 3] on each host,
`take_kb` [50, 800] to copy from each, `share` [0.5, 1] of the hosts, `gap_s` [0.5, 3].
"""

from __future__ import annotations

import socket

from netwarden.lab.clients import ssh_tools, tools
from netwarden.lab.clients.sessions import Session, play
from netwarden.lab.services.accounts import WEAK

PACKAGES = ("ssh=openssh-client", "scp=openssh-client")
_COMMANDS = ("id", "ls -la", "cat /etc/passwd", "ps aux", "ip addr", "find . -type f")


def session(s: Session) -> None:
    """One round over the hosts."""
    hosts = list(s.option("to"))
    for host in s.rng.sample(hosts, max(1, round(len(hosts) * s.between("share", 0.5, 1)))):
        address = s.part.at(host)
        if 22 in [port for port in s.option("probe", (22, 445, 3389)) if _open(s, address, port)]:
            _enter(s, address)
        if not s.pause(s.between("gap_s", 0.5, 3)):
            return


def _open(s: Session, address: str, port: int) -> bool:
    s.count(probes=1)
    try:
        with socket.create_connection((address, port), 1.5):
            return True
    except OSError:
        return False


def _enter(s: Session, address: str) -> None:
    user = str(s.option("user", WEAK))
    environment, options = ssh_tools.answer_password(s, user), ssh_tools.options(s)
    for _ in range(round(s.between("logins", 1, 3))):
        command = s.rng.choice(_COMMANDS)
        s.count(logins=int(tools.run(s, ["ssh", *options, f"{user}@{address}", command], environment) == 0))
        if not s.pause(s.between("gap_s", 0.5, 3)):
            return
    if kilobytes := round(s.between("take_kb", 50, 800)):
        take = f"head -c {kilobytes * 1024} archive.bin"
        s.count(taken=int(tools.run(s, ["ssh", *options, f"{user}@{address}", take], environment) == 0))


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
