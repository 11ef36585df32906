"""ApacheBench: so many requests as fast as so many connections at a time carry them.

Options: `requests`, `parallel` (10), `keep` (false: a connection for each request), `path` (/).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("ab=apache2-utils",)
_MOST_REQUESTS = 5000


def main() -> None:
    part = enter()
    options, completed = part.options, 0
    words = ["ab", "-n", str(min(options["requests"], _MOST_REQUESTS)), "-c", str(options.get("parallel", 10))]
    words += ["-s", "10", "-r", *(["-k"] if options.get("keep") else [])]
    for address in targets.addresses(part):
        output = part.tool([*words, targets.url(part, address, options.get("path", "/"))]).output
        completed += sum(map(int, re.findall(r"Complete requests: +(\d+)", output)))
    part.report(requests=completed)


if __name__ == "__main__":
    main()
