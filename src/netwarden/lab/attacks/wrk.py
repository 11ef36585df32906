"""wrk: so many connections that stay open, each asking as soon as it has its answer, for so long.

Options: `connections`, `for_s` (5), `path` (/).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("wrk",)


def main() -> None:
    part = enter()
    options, asked = part.options, 0
    words = ["wrk", "-t", "1", "-c", str(options["connections"]), "-d", f"{options.get('for_s', 5)}s"]
    for address in targets.addresses(part):
        output = part.tool([*words, targets.url(part, address, options.get("path", "/"))]).output
        asked += sum(map(int, re.findall(r"(\d+) requests in", output)))
    part.report(requests=asked)


if __name__ == "__main__":
    main()
