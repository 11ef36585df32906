"""Ncrack: passwords guessed at FTP or SSH, with its own pacing of connections.

Options: `service` (ftp, ssh), `users` (the weak account), `tries` (passwords for each user, 40), `tasks` (3),
`per_connection` (2 passwords on each), `delay_ms` between connections (0), `port`.
"""

from __future__ import annotations

from typing import Any

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter
from netwarden.lab.services.accounts import WEAK

PACKAGES = ("ncrack",)
_PORTS = {"ftp": 21, "ssh": 22}


def main() -> None:
    part = enter()
    ran = part.tool(command(part))
    part.report(ended=ran.code, found=sum("' '" in line for line in ran.output.splitlines()))


def command(part: Part) -> list[str]:
    options = part.options
    service = options["service"]
    words = ["ncrack", "-U", targets.listed("users", list(options.get("users", (WEAK,))))]
    words += ["-P", targets.listed("passwords", targets.passwords(part.rng, options.get("tries", 40)))]
    words += ["-g", _pace(options)]
    port = options.get("port", _PORTS[service])
    return words + [f"{service}://{address}:{port}" for address in targets.addresses(part)]


def _pace(options: dict[str, Any]) -> str:
    tasks, delay_ms = options.get("tasks", 3), options.get("delay_ms", 0)
    return f"CL={tasks},at={options.get('per_connection', 2)},cd={delay_ms}ms,cr=1"


if __name__ == "__main__":
    main()
