"""What a worm's spread looks like from one host: who answers on its port, a few passwords, one of which works, and on.

Nothing is copied and nothing runs on the other host but `true`; the next hop is an activity of the scenario by itself.
Options: `look_at` ([22]: ports), `wrong` [0, 2] passwords before the right one, `gap_s` [0, 0.3], `parallel` (4).
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from netwarden.lab.attacks import targets
from netwarden.lab.clients import ssh_tools, tools
from netwarden.lab.clients.sessions import Session, play
from netwarden.lab.services.accounts import ACCOUNTS, WEAK

PACKAGES = ("ssh=openssh-client",)


def session(s: Session) -> None:
    """One wave over all hosts, in random order."""
    hosts = list(s.option("to"))
    s.rng.shuffle(hosts)
    with ThreadPoolExecutor(s.option("parallel", 4)) as pool:
        for host in hosts:
            wrong = s.rng.sample(targets.passwords(s.rng, 30)[:-1], round(s.between("wrong", 0, 2)))
            pool.submit(_try, s, s.part.at(host), [*wrong, ACCOUNTS[WEAK]])
            if not s.pause(s.between("gap_s", 0, 0.3)):
                break


def _try(s: Session, address: str, passwords: list[str]) -> None:
    if not all([_answers(s, address, port) for port in s.option("look_at", (22,))]):  # noqa: C419 - looks at each port
        return
    for nth, password in enumerate(passwords):
        words = ["ssh", *ssh_tools.options(s), f"{WEAK}@{address}", "true"]
        environment = ssh_tools.answer_password(s, f"{WEAK}-{address}-{nth}", password)
        s.count(tries=1, taken=int(tools.run(s, words, environment) == 0))


def _answers(s: Session, address: str, port: int) -> bool:
    s.count(looks=1)
    try:
        with socket.create_connection((address, port), 1.0):
            return True
    except OSError:
        return False


def main() -> None:
    play(session)


if __name__ == "__main__":
    main()
