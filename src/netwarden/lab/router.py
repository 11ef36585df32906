"""The lab's router: carries packets between TUN devices over links with delay, jitter, loss and rate, and records them.

    python -m netwarden.lab.router '{"…": …}'   (started by the runner, with the devices' descriptors)

It runs until SIGTERM, then writes what it saw. Standard library only, so that it starts fast. A packet waits twice: on
the link of its sender's host, then, having been recorded, on that of its target's host.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import select
import signal
import struct
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, BinaryIO

from netwarden.lab.owners import Behalf, Owners, readable

_BATCH = 32  # packets of one device in a row, so that a flood does not starve the others
_LARGEST = 2048
LOST, FULL = -1, -2
_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)  # microseconds, Ethernet
_ETHER_IPV4 = b"\x08\x00"
_RECORD = struct.Struct("<IIII")


@dataclass(frozen=True)
class Way:
    """What a link does, in the router's units."""

    delay_ns: int
    jitter_ns: int
    loss: float
    ns_per_byte: float
    queue_ns: int


@dataclass(frozen=True)
class Port:
    """A device: its descriptor, its host, and who sends by it (below the number of hosts: the host itself)."""

    fd: int
    host: int
    owner: int


@dataclass(frozen=True)
class Plan:
    """All that a router is told."""

    addresses: tuple[str, ...]
    ways: tuple[Way, ...]  # one per host
    ports: tuple[Port, ...]
    behalf: tuple[dict[str, Any], ...]  # owners.Behalf; `to` as text
    seed: int
    starts_us: int  # of the scenario's clock
    zero_ns: int  # of the monotonic clock at that moment
    capture: str
    truth: str

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def _read_plan(text: str) -> Plan:
    given = json.loads(text)
    given["ways"] = tuple(Way(**way) for way in given["ways"])
    given["ports"] = tuple(Port(**port) for port in given["ports"])
    return Plan(**given)


class Lane:
    """One direction of a link."""

    def __init__(self, way: Way, seed: str) -> None:
        self._way, self._random = way, random.Random(seed).random  # noqa: S311 - repeatable, not secret
        self._free_at, self._last = 0, 0

    def arrival(self, now: int, size: int) -> int:
        """When a packet that enters now comes out at the other end; LOST or FULL where it does not."""
        way = self._way
        if way.loss and self._random() < way.loss:
            return LOST
        free_at = max(self._free_at, now)
        if free_at - now > way.queue_ns:
            return FULL
        self._free_at = free_at = free_at + int(size * way.ns_per_byte)
        at = free_at + way.delay_ns
        if way.jitter_ns:
            at += int(self._random() * way.jitter_ns)
        self._last = at = max(at, self._last)  # a link does not reorder
        return at


class Router:
    """Forwards until told to stop. All state of one run."""

    def __init__(self, plan: Plan, capture: BinaryIO) -> None:
        self.drops: Counter[str] = Counter()
        self.packets = 0
        self._plan, self._write = plan, capture.write
        hosts = range(len(plan.addresses))
        self._up = [Lane(plan.ways[host], f"{plan.seed} up {host}") for host in hosts]
        self._down = [Lane(plan.ways[host], f"{plan.seed} down {host}") for host in hosts]
        self._host_of = {_packed(address): host for host, address in enumerate(plan.addresses)}
        self._macs = [b"\x02\x4e" + _packed(address) for address in plan.addresses]
        self._nowhere = b"\x02\x4e\0\0\0\0"
        self._port_of = {port.fd: port for port in plan.ports}
        self._fd_of = {port.owner: port.fd for port in plan.ports}
        self._host_of_owner = {port.owner: port.host for port in plan.ports}
        rules = [Behalf(**{**rule, "to": _packed(rule["to"])}) for rule in plan.behalf]
        self.owners = Owners(len(plan.addresses), rules)
        self._arriving: list[tuple[int, int, Port, bytes]] = []
        self._leaving: list[tuple[int, int, int, bytes]] = []
        self._order = 0
        self._last_us = 0
        self.stopped = False
        self._timer, self._waiting = _Timer(), select.epoll()
        for fd in (*self._port_of, self._timer.fd):
            self._waiting.register(fd, select.EPOLLIN)
        capture.write(_PCAP_HEADER)

    def run(self) -> None:
        """Forward packets until `stopped`."""
        while not self.stopped:
            self.turn(0.25)

    def turn(self, longest_s: float) -> None:
        """Wait for packets, or for one that is due; take and pass on what there is."""
        for fd, _ in self._waiting.poll(longest_s):
            port = self._port_of.get(fd)
            if port is None:
                self._timer.clear()
            else:
                self._drain(port)
        self._timer.wake_at(self._release())

    def _drain(self, port: Port) -> None:
        lane, fd, arriving = self._up[port.host], port.fd, self._arriving
        for _ in range(_BATCH):
            try:
                packet = os.read(fd, _LARGEST)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                self.drops["not IPv4"] += 1
                continue
            at = lane.arrival(time.monotonic_ns(), len(packet))
            if at < 0:
                self.drops["lost by a link" if at == LOST else "queue of a link full"] += 1
                continue
            self._order += 1
            heappush(arriving, (at, self._order, port, packet))

    def _release(self) -> int:
        """Pass on what is due; gives when the next is, 0 where nothing waits."""
        arriving, leaving = self._arriving, self._leaving
        now = time.monotonic_ns()
        while arriving and arriving[0][0] <= now:
            at, _, port, packet = heappop(arriving)
            self._pass(at, port, packet)
        while leaving and leaving[0][0] <= now:
            _, _, fd, packet = heappop(leaving)
            try:
                os.write(fd, packet)
            except OSError:
                self.drops["refused by a device"] += 1
        if arriving and leaving:
            return min(arriving[0][0], leaving[0][0])
        return arriving[0][0] if arriving else leaving[0][0] if leaving else 0

    def _pass(self, at: int, port: Port, packet: bytes) -> None:
        """Record a packet that has arrived, then send it down the link of its target's host."""
        time_us = max((at - self._plan.zero_ns) // 1000 + self._plan.starts_us, self._last_us + 1)
        self._last_us = time_us
        host = self._host_of.get(packet[16:20])
        owner = self.owners.take(packet, port.owner, time_us).owner
        size = len(packet) + 14
        self._write(
            _RECORD.pack(time_us // 1_000_000, time_us % 1_000_000, size, size)
            + (self._nowhere if host is None else self._macs[host])
            + self._macs[port.host]
            + _ETHER_IPV4
            + packet
        )
        self.packets += 1
        if host is None:
            self.drops["no such host"] += 1
            return
        if packet[8] <= 1:
            self.drops["time to live spent"] += 1
            return
        at = self._down[host].arrival(at, len(packet))
        if at < 0:
            self.drops["lost by a link" if at == LOST else "queue of a link full"] += 1
            return
        # what concerns an activity arrives by its own device, so that tools that listen there hear the answers
        answers = owner if self._host_of_owner[owner] == host else host
        self._order += 1
        heappush(self._leaving, (at, self._order, self._fd_of[answers], one_hop_further(packet)))


def one_hop_further(packet: bytes) -> bytes:
    """An IPv4 packet with its time to live lowered by one and the header checksum following (RFC 1624)."""
    total = ((packet[10] << 8) | packet[11]) + 0x0100
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:8] + bytes((packet[8] - 1, packet[9], total >> 8, total & 0xFF)) + packet[12:]


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


class _Timer:
    """A descriptor that becomes readable at a time of the monotonic clock; epoll's own timeout counts milliseconds."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._spec = (ctypes.c_long * 4)()  # interval s, ns; first s, ns
        self._at = 0

    def wake_at(self, at_ns: int) -> None:
        """0: never."""
        if at_ns != self._at:
            self._at = at_ns
            self._spec[2], self._spec[3] = divmod(at_ns, 1_000_000_000)
            self._libc.timerfd_settime(self.fd, 1, self._spec, None)  # 1: absolute

    def clear(self) -> None:
        os.read(self.fd, 8)
        self._at = 0


def main() -> None:
    """Route until SIGTERM, then write the truth beside the capture."""
    plan = _read_plan(sys.argv[1])
    gc.disable()  # nothing here is cyclic, and a collection would hold packets up
    with Path(plan.capture).open("wb", buffering=1 << 20) as capture:
        router = Router(plan, capture)

        def stop(_signal: int, _frame: object) -> None:
            router.stopped = True

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner says when
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        router.run()
    turns = [readable(turn) for turn in router.owners.turns]
    told = {"packets": router.packets, "drops": dict(router.drops), "turns": turns}
    Path(plan.truth).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
