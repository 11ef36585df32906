"""Nping: rounds of probes or bursts of packets at a given rate.

Options: `kind` (connect, tcp, udp, icmp), `ports`, `rounds` (packets to each port of each host), `rate` (a second),
`data_bytes` (0), `bursts` (1) with `gap_s` [0.5, 2] between them; each burst draws a source port of its own.
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter

PACKAGES = ("nping=nmap",)
RAW = True

_KINDS = {"connect": ["--tcp-connect"], "tcp": ["--tcp"], "udp": ["--udp"], "icmp": ["--icmp"]}
_MOST_ROUNDS = 20_000


def main() -> None:
    part = enter()
    sent = answered = 0
    for _ in range(part.options.get("bursts", 1)):
        output = part.tool(command(part)).output
        for count, back in re.findall(r"(?:packets sent|attempts): (\d+).*?(?:Rcvd|connections): (\d+)", output):
            sent, answered = sent + int(count), answered + int(back)
        if not part.pause(*part.options.get("gap_s", (0.5, 2.0))):
            break
    part.report(sent=sent, answered=answered)


def command(part: Part) -> list[str]:
    options = part.options
    words = ["nping", "-q", "-H", *_KINDS[options["kind"]], "--rate", str(options["rate"])]
    words += ["-c", str(min(options.get("rounds", 1), _MOST_ROUNDS))]
    if options["kind"] != "icmp":
        words += ["-p", str(options["ports"])]
    if options["kind"] in ("tcp", "udp"):
        words += ["-g", str(part.rng.randint(20_000, 60_000))]
    if options.get("data_bytes") and options["kind"] != "connect":
        words += ["--data-length", str(options["data_bytes"])]
    return words + targets.addresses(part)


if __name__ == "__main__":
    main()
