"""Siege: users who ask again and again, each without a pause or with a random one.

Options: `users`, `repeats` of each, `delay_s` (0: none; up to so long between requests), `paths`, `keep` (false).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("siege",)
_MOST_REQUESTS = 5000


def main() -> None:
    part = enter()
    options, asked = part.options, 0
    users = int(options["users"])
    connection = "keep-alive" if options.get("keep") else "close"
    settings = targets.listed(
        "siegerc", [f"connection = {connection}", "parser = false", "timeout = 10", "limit = 255"]
    )
    pace = ["-d", str(options["delay_s"])] if options.get("delay_s") else ["-b"]
    words = [
        "siege",
        "-R",
        settings,
        "-c",
        str(users),
        "-r",
        str(min(options["repeats"], _MOST_REQUESTS // users)),
        *pace,
    ]
    for address in targets.addresses(part):
        urls = [targets.url(part, address, path) for path in options.get("paths", ("/",))]
        output = part.tool([*words, "-i", "-f", targets.listed("urls", urls)]).output
        asked += sum(map(int, re.findall(r"ransactions\D+(\d+)", output)[:1]))
    part.report(requests=asked)


if __name__ == "__main__":
    main()
