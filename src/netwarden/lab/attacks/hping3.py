"""hping3: made-up packets, at a steady pace; scans where the port counts up, floods where it stays.

Options: `kind` (syn, ack, fin, xmas, udp, icmp), `port` (a scan's first, with `count_up: true`), `count` (packets to
each host), `interval_us`, `data_bytes` (0), `window` (64240), `one_source` (false: the source port counts up; true: one
port, and thus one flow), `bursts` (1) with `gap_s` [0.5, 2] between them.
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter

PACKAGES = ("hping3", "ip=iproute2")
RAW = True

_KINDS = {"syn": ["-S"], "ack": ["-A"], "fin": ["-F"], "xmas": ["-F", "-P", "-U"], "udp": ["--udp"], "icmp": ["--icmp"]}
_MOST_PACKETS, _SHORTEST_US = 20_000, 1000


def main() -> None:
    part = enter()
    sent = answered = 0
    for _ in range(part.options.get("bursts", 1)):
        for address in targets.addresses(part):
            output = part.tool(command(part, address, _device(part, address))).output
            for transmitted, received in re.findall(r"(\d+) packets tra\w+, (\d+) packets received", output):
                sent, answered = sent + int(transmitted), answered + int(received)
        if not part.pause(*part.options.get("gap_s", (0.5, 2.0))):
            break
    part.report(sent=sent, answered=answered)


def command(part: Part, address: str, device: str) -> list[str]:
    """The command line, with the device named, since hping3 would listen on the first it finds.

    The source is named too: of a host's devices hping3 knows the first sixteen, and sends as 127.0.0.1 by any other.
    """
    options = part.options
    words = ["hping3", "-n", "-q", "-a", part.address, "-I", device, *_KINDS[options["kind"]]]
    words += ["-c", str(min(options["count"], _MOST_PACKETS)), "-i", f"u{max(options['interval_us'], _SHORTEST_US)}"]
    words += ["-s", str(part.rng.randint(20_000, 50_000))]
    if options["kind"] != "icmp":
        words += ["-p", f"{'++' if options.get('count_up') else ''}{options['port']}"]
    if options["kind"] not in ("icmp", "udp"):
        words += ["-w", str(options.get("window", 64_240))]
    if options.get("one_source"):
        words += ["-k"]
    if options.get("data_bytes"):
        words += ["-d", str(options["data_bytes"])]
    return [*words, address]


def _device(part: Part, address: str) -> str:
    route = part.tool(["ip", "-o", "route", "get", address]).output
    found = re.search(r"\bdev (\S+)", route)
    return found[1] if found else "eth0"


if __name__ == "__main__":
    main()
