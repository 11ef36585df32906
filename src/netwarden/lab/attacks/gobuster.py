"""Gobuster: names of pages tried one after the other, over connections that stay open.

Options: `words` (200), `threads` (10), `delay_ms` (0) of each thread.
"""

from __future__ import annotations

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("gobuster",)


def main() -> None:
    part = enter()
    options, found = part.options, 0
    words = ["gobuster", "dir", "-q", "-z", "-k", "--no-error", "--no-color", "-t", str(options.get("threads", 10))]
    words += ["--delay", f"{options.get('delay_ms', 0)}ms", "--timeout", "5s"]
    for address in targets.addresses(part):
        listed = targets.listed("words", targets.paths(part.rng, options.get("words", 200)))
        ran = part.tool([*words, "-u", targets.url(part, address), "-w", listed])
        found += ran.output.count("(Status: ")
    part.report(words=options.get("words", 200), found=found)


if __name__ == "__main__":
    main()
