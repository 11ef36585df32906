"""Packets a second through the lab's router with delays on both links (needs root): UDP of 200 bytes.

    python benchmarks/bench_lab_router.py

The sender offers more than the router takes; what counts is what arrives at the other host's socket.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netwarden.lab.network import Network, Space, network, require_host
from netwarden.lab.router import Plan, Port, Way

SECONDS = 5.0
ADDRESSES = {"left": "10.99.0.1", "right": "10.99.0.2"}
SERVER, CLIENT = (
    """
import json, socket, sys, time
echo = sys.argv[1] == "echo"
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
taker.bind(("10.99.0.2", 9))
taker.settimeout(3)
taken = 0
try:
    while True:
        data, whence = taker.recvfrom(2048)
        taken += 1
        if echo:
            taker.sendto(data, whence)
except TimeoutError:
    print(taken)
""",
    """
import socket, sys, time
giver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
giver.connect(("10.99.0.2", 9))
rate, seconds, given, data = float(sys.argv[1]), float(sys.argv[2]), 0, bytes(172)
began = time.monotonic()
while (elapsed := time.monotonic() - began) < seconds:
    for _ in range(min(256, int(elapsed * rate) - given)):
        giver.send(data)
        given += 1
    time.sleep(0.0005)
print(given)
""",
)


def main() -> None:
    """Print packets a second at several rates offered."""
    require_host()
    for mode, rates in (("one way", (10_000, 20_000, 40_000, 80_000)), ("echo", (10_000, 20_000))):
        for rate in rates:
            print(f"{mode}, {rate:,} packets/s offered: {measure(rate, echo=mode == 'echo')}", flush=True)


def measure(rate: int, *, echo: bool) -> str:
    """What came of one rate."""
    with (
        tempfile.TemporaryDirectory() as folder,
        network(secrets.token_hex(3), [Space(name, address) for name, address in ADDRESSES.items()]) as made,
    ):
        router = start_router(made, Path(folder))
        try:
            given, taken = send(made, rate, echo=echo)
        finally:
            busy_s = cpu_s(router.pid)
            router.terminate()
            router.wait(30)
        refused = made.refused()
        told = json.loads((Path(folder) / "turns.json").read_text())
    forwarded = told["packets"]
    return (
        f"{given:,} sent, {taken:,} arrived ({taken / SECONDS:,.0f}/s), {forwarded / SECONDS:,.0f} forwarded/s, "
        f"{busy_s / max(forwarded, 1) * 1e6:.1f} µs of CPU each, {refused:,} refused, {told['drops']}"
    )


def send(made: Network, rate: int, *, echo: bool) -> tuple[int, int]:
    """Datagrams sent by one host, and taken by the other."""
    server = subprocess.Popen(
        made.inside("right", sys.executable, "-c", SERVER, "echo" if echo else ""), stdout=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    client = subprocess.run(
        made.inside("left", sys.executable, "-c", CLIENT, str(rate), str(SECONDS)),
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(client.stdout), int(server.communicate()[0])


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_router(made: Network, folder: Path) -> subprocess.Popen[str]:
    """A router between both hosts, 1 ms each way."""
    way = Way(1_000_000, 200_000, 0.0, 0.8, 40_000_000)
    ports = tuple(Port(device.fd, nth, nth) for nth, device in enumerate(made.devices))
    plan = Plan(
        tuple(ADDRESSES.values()), (way, way), ports, (), 1, 0, time.monotonic_ns(),
        str(folder / "capture.pcap"), str(folder / "turns.json"),
    )  # fmt: skip
    router = subprocess.Popen(
        ["nice", "-n", "-15", sys.executable, "-m", "netwarden.lab.router", plan.to_json()],
        pass_fds=[port.fd for port in ports], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    made.hand_over()
    assert router.stdout is not None
    router.stdout.readline()
    return router


if __name__ == "__main__":
    main()
