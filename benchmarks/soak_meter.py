"""Memory of the flow meter over ten million flows, and over a long live run with interim records.

`make soak`: packets of ever new connections are made and metered, the whole way from frames to flow tables with
context; the table of open flows is full for most of it. What the process holds (its resident memory, which may fall as
well as rise) is read after each million. Then the loopback interface is metered for --live-seconds with interim records
each second, under datagrams of flows that last and of flows that do not, and the same is read ten times. Prints the
readings and appends them to benchmarks/results; exits 1 where the last is over a tenth more than the first, or where a
packet was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import socket
import struct
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
READINGS = 10
BATCH = 20_000  # connections made at once
MOST_GROWTH = 1.1
_FRAME_BYTES, _PACKETS = 54, 3  # SYN, SYN and ACK, ACK of one connection
_STEP_NS = 20_000  # 16,667 connections a second, so that the table is full long before the end
_FLAGS = (0x02, 0x12, 0x10)


def main() -> None:
    """Measure, print, and fail where memory grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=FLOWS, help="between two readings, of which there are ten")
    parser.add_argument("--live-seconds", type=float, default=120, help="of the live run, which needs root; 0: none")
    parser.add_argument("--results", type=Path, default=figures.RESULTS, help="folder that the figures are appended to")
    options = parser.parse_args()
    figures.RESULTS = options.results
    compile_kernels()
    readings, facts = metered(READINGS * options.flows)
    for nth, reading in enumerate(readings, 1):
        record(SUBJECT, f"memory at {nth * options.flows} flows", reading, "MB")
    growth = [readings[-1] / readings[0]]
    record(SUBJECT, "growth of memory", growth[0], "ratio", **facts)
    if options.live_seconds:
        readings, facts = metered_live(options.live_seconds)
        for nth, reading in enumerate(readings, 1):
            record(SUBJECT, f"memory live after {nth * options.live_seconds / READINGS:.0f} s", reading, "MB")
        growth.append(readings[-1] / readings[0])
        record(SUBJECT, "growth of memory, live", growth[1], "ratio", **facts)
    if max(growth) > MOST_GROWTH:
        raise SystemExit(
            f"memory grew: {', '.join(f'{times:.2f}' for times in growth)} times from first to last reading"
        )


def metered(flows: int) -> tuple[list[float], dict[str, float]]:
    """Memory after each tenth of so many connections, and what metering them gave.

    Every packet must be in a flow, every connection one flow.
    """
    began_s, report, packets, readings = time.perf_counter(), MeterReport(), 0, list[float]()
    for table in meter_captures([Connections(flows)], MeterSettings(interim_s=60), report=report):  # type: ignore[list-item]  # reads like a file
        columns = table.arrow.select(["fwd_packets", "bwd_packets"])
        packets += sum(int(column.to_numpy().sum()) for column in columns.itercolumns())
        if report.flows * READINGS >= flows * (len(readings) + 1):
            readings.append(_resident_mb())
    if (packets, report.packets, report.flows) != (_PACKETS * flows, _PACKETS * flows, flows):
        raise SystemExit(f"{_PACKETS * flows} packets became {packets} in {report.flows} flows")
    seconds = round(time.perf_counter() - began_s, 1)
    return readings, {"flows": flows, "packets": packets, "evicted": report.counts["evicted"], "seconds": seconds}


def metered_live(seconds: float) -> tuple[list[float], dict[str, float]]:
    """Memory after each tenth of a live run, and what it saw."""
    began_s, stopped, sent = time.monotonic(), threading.Event(), [0]
    sender = threading.Thread(target=_send_datagrams, args=(stopped, sent))
    sender.start()
    report, interim, readings = MeterReport(), 0, list[float]()
    rules = MeterSettings(interim_s=1, idle_timeout_s=5)
    try:
        for table in meter_live("lo", rules, lambda: time.monotonic() > began_s + seconds, report=report):
            interim += table.arrow.column("ended_by").to_pylist().count("interim")
            passed_s = time.monotonic() - began_s
            if passed_s * READINGS >= seconds * (len(readings) + 1):
                readings.append(_resident_mb())
            if passed_s > seconds - 1:
                stopped.set()
    finally:
        stopped.set()
        sender.join()
    if report.dropped or report.packets < sent[0] or not interim:
        raise SystemExit(
            f"{sent[0]} datagrams sent, {report.packets} metered, {report.dropped} dropped, {interim} interim"
        )
    return readings, {"seconds": seconds, "packets": report.packets, "flows": report.flows, "interim": interim}


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


def _resident_mb() -> float:
    """What this process holds in memory now, libraries included."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


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
