"""slowhttptest: connections held open by headers, bodies or reads that never end.

Options: `kind` (headers, body, read), `connections`, `rate` (of new ones a second, default 10), `every_s` (5) between
pieces, `for_s` (30), `path`, `piece_bytes` (32), `window_bytes` (512: what a slow reader lets the server send).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter

PACKAGES = ("slowhttptest",)
_KINDS = {"headers": "-H", "body": "-B", "read": "-X"}


def main() -> None:
    part = enter()
    for address in targets.addresses(part):
        ran = part.tool(command(part, address))
        held = [int(count) for count in re.findall(r"connected: +(\d+)", _plain(ran.output))]
        part.report(ended=ran.code, held=max(held, default=0))


def command(part: Part, address: str) -> list[str]:
    options = part.options
    every_s, window = str(options.get("every_s", 5)), int(options.get("window_bytes", 512))
    words = ["slowhttptest", _KINDS[options["kind"]], "-u", targets.url(part, address, options.get("path", "/"))]
    words += [
        "-c",
        str(options["connections"]),
        "-r",
        str(options.get("rate", 10)),
        "-l",
        str(options.get("for_s", 30)),
    ]
    if options["kind"] == "read":
        words += ["-n", every_s, "-w", str(window), "-y", str(window * 2), "-z", str(options.get("piece_bytes", 32))]
    else:
        words += ["-i", every_s, "-x", str(options.get("piece_bytes", 32))]
    return words


def _plain(output: str) -> str:
    """Without the colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)


if __name__ == "__main__":
    main()
