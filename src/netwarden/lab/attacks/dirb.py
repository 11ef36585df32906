"""DIRB: names of pages tried one by one over one connection, in rounds of a list each.

Options: `words` (60 of each round), `rounds` (1), `delay_ms` (0).
"""

from __future__ import annotations

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("dirb",)


def main() -> None:
    part = enter()
    options, found = part.options, 0
    for _ in range(options.get("rounds", 1)):
        for address in targets.addresses(part):
            listed = targets.listed("words", targets.paths(part.rng, options.get("words", 60)))
            pace = ["-z", str(options["delay_ms"])] if options.get("delay_ms") else []
            ran = part.tool(["dirb", targets.url(part, address), listed, "-S", "-r", "-w", *pace])
            found += ran.output.count("\n+ ")
        if not part.pause(0.2, 1.0):
            break
    part.report(words=options.get("words", 60), found=found)


if __name__ == "__main__":
    main()
