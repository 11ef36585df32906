"""netcat in a loop, as a shell on a taken-over host allows: which ports can be connected to?

Options: `ports`, `gap_s` [0, 0.05] between two looks, `udp` (false), `wait_s` (1), `shuffled` (true).
"""

from __future__ import annotations

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("nc=netcat-openbsd",)


def main() -> None:
    part = enter()
    options = part.options
    looks = [(address, port) for address in targets.addresses(part) for port in targets.ports(options["ports"])]
    if options.get("shuffled", True):
        part.rng.shuffle(looks)
    words = ["nc", "-z", "-n", "-w", str(options.get("wait_s", 1)), *(["-u"] if options.get("udp") else [])]
    looked = found = 0
    for address, port in looks:
        found += part.tool([*words, address, str(port)]).ok
        looked += 1
        if not part.pause(*options.get("gap_s", (0.0, 0.05))):
            break
    part.report(looks=looked, open=found)


if __name__ == "__main__":
    main()
