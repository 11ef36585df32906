"""Ncrack: passwords guessed at FTP or SSH, with its own pacing of connections.

Options: `service` (ftp, ssh), `users` (the weak account), `tries` (passwords for each user, 40), `tasks` (3),
`delay_ms` between connections (0), `port`.
"""

from __future__ import annotations

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
    words += ["-g", f"CL={options.get('tasks', 3)},cd={options.get('delay_ms', 0)}ms,cr=1"]
    port = options.get("port", _PORTS[service])
    return words + [f"{service}://{address}:{port}" for address in targets.addresses(part)]


if __name__ == "__main__":
    main()
