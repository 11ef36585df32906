"""Nmap: scans of ports, services and hosts by its techniques, at its speeds.

Options: `technique` (syn, connect, udp, fin, xmas, null, ack, service, sweep), `ports`, `timing` (0 to 5, default 4),
`max_rate` (packets a second), `delay_ms` between probes, `retries` (1), `data_bytes` (random payload of probes).
"""

from __future__ import annotations

import re

from netwarden.lab.attacks import targets
from netwarden.lab.play import Part, enter

PACKAGES = ("nmap",)
RAW = True

_TECHNIQUES = {
    "syn": ["-Pn", "-sS"],
    "connect": ["-Pn", "-sT"],
    "udp": ["-Pn", "-sU"],
    "fin": ["-Pn", "-sF"],
    "xmas": ["-Pn", "-sX"],
    "null": ["-Pn", "-sN"],
    "ack": ["-Pn", "-sA"],
    "service": ["-Pn", "-sV", "--version-intensity", "4"],
    "sweep": ["-sn", "-PE", "-PS22,80,443"],
}


def main() -> None:
    part = enter()
    ran = part.tool(command(part))
    part.report(
        ended=ran.code,
        hosts=len(re.findall(r"^Host is up", ran.output, re.M)),
        open=len(re.findall(r"^\d+/\w+ +open ", ran.output, re.M)),
    )


def command(part: Part) -> list[str]:
    """The command line; `--send-ip` since the lab's devices carry no Ethernet."""
    options = part.options
    words = ["nmap", "-n", "--send-ip", *_TECHNIQUES[options["technique"]], f"-T{options.get('timing', 4)}"]
    words += ["--max-retries", str(options.get("retries", 1))]
    if "ports" in options and options["technique"] != "sweep":
        words += ["-p", str(options["ports"])]
    if "max_rate" in options:
        words += ["--max-rate", str(options["max_rate"])]
    if "delay_ms" in options:
        words += ["--scan-delay", f"{options['delay_ms']}ms", "--max-scan-delay", f"{options['delay_ms']}ms"]
    if "data_bytes" in options:
        words += ["--data-length", str(options["data_bytes"])]
    return words + targets.addresses(part)


if __name__ == "__main__":
    main()
