"""ffuf: names put into a URL, over connections that stay open.

Options: `words` (200), `threads` (10), `delay_s` (0 or a range as `0.1-0.4`), `path` (/FUZZ).
"""

from __future__ import annotations

from netwarden.lab.attacks import targets
from netwarden.lab.play import enter

PACKAGES = ("ffuf",)


def main() -> None:
    part = enter()
    options, found = part.options, 0
    words = [
        "ffuf",
        "-s",
        "-k",
        "-t",
        str(options.get("threads", 10)),
        "-p",
        str(options.get("delay_s", 0)),
        "-timeout",
        "5",
    ]
    for address in targets.addresses(part):
        listed = targets.listed("words", targets.paths(part.rng, options.get("words", 200)))
        ran = part.tool([*words, "-u", targets.url(part, address, options.get("path", "/FUZZ")), "-w", listed])
        found += sum(bool(line.strip()) for line in ran.output.splitlines()[1:])
    part.report(words=options.get("words", 200), found=found)


if __name__ == "__main__":
    main()
