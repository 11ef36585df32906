"""Memory of the flow meter over ten million flows beside one million, and over a long live run with interim records.

`make soak`: packets of ever new connections are made and metered in a process of its own for each number of flows, the
whole way from frames to flow tables with context; the table of open flows is full for most of it. Then the loopback
interface is metered for --live-seconds with interim records each second, under datagrams of flows that last and of
flows that do not. Prints one line for each figure and appends it to benchmarks/results; exits 1 where ten times the
flows, or the second half of the live run, took over a tenth more memory, or where a packet was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
import numpy as np
from figures import record

from netwarden.capture.compiled import compile_kernels
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import MeterReport, meter_captures, meter_live

SUBJECT = "soak"
FLOWS = 1_000_000
TIMES = 10
BATCH = 20_000  # connections made at once
MOST_GROWTH = 1.1
_FRAME_BYTES, _PACKETS = 54, 3  # SYN, SYN and ACK, ACK of one connection
_STEP_NS = 20_000  # 16,667 connections a second, so that the table is full long before the end
_FLAGS = (0x02, 0x12, 0x10)


def main() -> None:
    """Measure, or (with --only) meter so many flows in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=FLOWS, help="of the smaller run; the larger has ten times as many")
    parser.add_argument("--live-seconds", type=float, default=120, help="of the live run, which needs root; 0: none")
    parser.add_argument("--results", type=Path, default=figures.RESULTS, help="folder that the figures are appended to")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    figures.RESULTS = options.results
    if options.only:
        print(json.dumps(metered(options.only)))
        return
    compile_kernels()
    small, large = (in_own_process(flows) for flows in (options.flows, TIMES * options.flows))
    for told in (small, large):
        record(SUBJECT, f"peak memory {told['flows']:.0f} flows", told["peak_mb"], "MB", **told)
    growth = large["peak_mb"] / small["peak_mb"]
    record(SUBJECT, "growth of memory", growth, "ratio", flows=large["flows"])
    lasting = metered_live(options.live_seconds) if options.live_seconds else {"growth": 1.0}
    if options.live_seconds:
        record(SUBJECT, "growth of memory, live", lasting["growth"], "ratio", **lasting)
    if max(growth, lasting["growth"]) > MOST_GROWTH:
        raise SystemExit(
            f"memory grew: {growth:.2f} times with ten times the flows, {lasting['growth']:.2f} times live"
        )


def in_own_process(flows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", str(flows)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


def metered(flows: int) -> dict[str, float]:
    """What metering so many connections gave and took. Every packet must be in a flow, every connection one flow."""
    began_s, report, packets = time.perf_counter(), MeterReport(), 0
    for table in meter_captures([Connections(flows)], MeterSettings(interim_s=60), report=report):  # type: ignore[list-item]  # reads like a file
        columns = table.arrow.select(["fwd_packets", "bwd_packets"])
        packets += sum(int(column.to_numpy().sum()) for column in columns.itercolumns())
    if (packets, report.packets, report.flows) != (_PACKETS * flows, _PACKETS * flows, flows):
        raise SystemExit(f"{_PACKETS * flows} packets became {packets} in {report.flows} flows")
    return {
        "flows": flows,
        "packets": packets,
        "evicted": report.counts["evicted"],
        "seconds": round(time.perf_counter() - began_s, 1),
        "peak_mb": _peak_mb(),
    }


def metered_live(seconds: float) -> dict[str, float]:
    """What a live run saw, and how much memory its second half took on top of the first."""
    ends_s, stopped, sent = time.monotonic() + seconds, threading.Event(), [0]
    sender = threading.Thread(target=_send_datagrams, args=(stopped, sent))
    sender.start()
    report, interim, half_mb = MeterReport(), 0, 0.0
    rules = MeterSettings(interim_s=1, idle_timeout_s=5)
    try:
        for table in meter_live("lo", rules, lambda: time.monotonic() > ends_s, report=report):
            interim += table.arrow.column("ended_by").to_pylist().count("interim")
            if not half_mb and time.monotonic() > ends_s - seconds / 2:
                half_mb = _peak_mb()
            if time.monotonic() > ends_s - 1:
                stopped.set()
    finally:
        stopped.set()
        sender.join()
    if report.dropped or report.packets < sent[0] or not interim:
        raise SystemExit(
            f"{sent[0]} datagrams sent, {report.packets} metered, {report.dropped} dropped, {interim} interim"
        )
    return {
        "growth": _peak_mb() / half_mb,
        "seconds": seconds,
        "packets": report.packets,
        "flows": report.flows,
        "interim": interim,
        "peak_mb": _peak_mb(),
    }


def _send_datagrams(stopped: threading.Event, sent: list[int]) -> None:
    """To our own discard port: most from ports that stay, every tenth from a new one."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(20)]
        while not stopped.is_set():
            for nth, lasting in enumerate(sockets):
                with (
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    if nth % 10 == 0
                    else contextlib.nullcontext(lasting) as way
                ):
                    way.sendto(b"x" * 100, ("127.0.0.1", 9))
                sent[0] += 1
            time.sleep(0.002)


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


class Connections:
    """A pcap of connections never closed that is made while it is read, each from another port or host."""

    name = "connections"

    def __init__(self, count: int) -> None:
        self._pieces = _pieces(count)
        self._rest = io.BytesIO(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end."""
        got = self._rest.read(size)
        if not got:
            self._rest = io.BytesIO(next(self._pieces, b""))
            got = self._rest.read(size)
        return got


def _pieces(count: int) -> Iterator[bytes]:
    for first in range(0, count, BATCH):
        yield _connections(np.arange(first, min(first + BATCH, count), dtype=np.uint64))


def _connections(numbers: Any) -> bytes:
    """Records of the packets of some connections, in time order."""
    rows = np.zeros((len(numbers), _PACKETS, 16 + _FRAME_BYTES), np.uint8)
    source = numbers // 60_000 + 0x0A000001
    port = numbers % 60_000 + 1024
    for nth, flags in enumerate(_FLAGS):
        packet, times = rows[:, nth], 1_700_000_000_000_000_000 + (numbers * _PACKETS + nth) * _STEP_NS
        _put(packet, 0, times // 1_000_000_000, "<u4")
        _put(packet, 4, times % 1_000_000_000, "<u4")
        for at in (8, 12):
            _put(packet, at, np.full_like(numbers, _FRAME_BYTES), "<u4")
        packet[:, 16:] = np.frombuffer(_frame(flags), np.uint8)
        ends = ((42, 50), (46, 52)) if nth != 1 else ((46, 52), (42, 50))  # address, port: initiator, responder
        for (address_at, port_at), address, number in zip(ends, (source, 0x0AFF0001), (port, 443), strict=True):
            _put(packet, address_at, np.broadcast_to(np.asarray(address, np.uint64), numbers.shape), ">u4")
            _put(packet, port_at, np.broadcast_to(np.asarray(number, np.uint64), numbers.shape), ">u2")
    return rows.tobytes()


def _put(packet: Any, at: int, values: Any, kind: str) -> None:
    coded = values.astype(kind)
    packet[:, at : at + coded.dtype.itemsize] = coded.view(np.uint8).reshape(len(coded), -1)


def _frame(flags: int) -> bytes:
    network = struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0, 0)
    return b"\x02" * 12 + b"\x08\0" + network + struct.pack("!HHIIBBHHH", 0, 0, 0, 0, 5 << 4, flags, 512, 0, 0)


if __name__ == "__main__":
    main()
