"""Automation over SSH: one command on many hosts in a row, a connection each; awkwardly like guesses and worms.

Options: `to` (hosts), `share` [0.4, 1] of them in a round, `gap_s` [0, 0.5] between hosts, `user` (deploy).
"""

from __future__ import annotations

from netwarden.lab.clients import ssh_tools, tools
from netwarden.lab.clients.sessions import Session, play

PACKAGES = ("ssh=openssh-client",)

_COMMANDS = ("true", "uptime", "id", "df -h", "ps aux", "cat /etc/services", "head -c 200000 report.bin")


def session(s: Session) -> None:
    """One round over the hosts."""
    name, hosts = str(s.option("user", "deploy")), list(s.option("to"))
    environment, command = ssh_tools.answer_password(s, name), s.rng.choice(_COMMANDS)
    for host in s.rng.sample(hosts, max(1, round(len(hosts) * s.between("share", 0.4, 1)))):
        tools.must_run(s, ["ssh", *ssh_tools.options(s), f"{name}@{s.part.at(host)}", command], environment)
        s.count(commands=1)
        if not s.pause(s.between("gap_s", 0, 0.5)):
            return


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
