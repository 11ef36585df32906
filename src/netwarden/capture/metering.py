"""Captures and live traffic to flow tables, in one streaming pass of bounded memory."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netwarden.capture.context import context, empty_tables
from netwarden.capture.live import LiveFacts, live_frames
from netwarden.capture.meter import BATCH_FLOWS, FlowMeter, MeterSettings
from netwarden.capture.payload import PayloadHeads, with_payload
from netwarden.capture.pipe import IN_FLIGHT_NS, Pipe, PipeClock
from netwarden.capture.recent import RecentPackets
from netwarden.capture.records import FLOW
from netwarden.capture.stream import Capture, Decoder, StreamFacts, Watch, read_packets
from netwarden.capture.tables import flow_table
from netwarden.flows.table import FlowTable

_PROMPT_S = 0.2  # ended flows are handed out at least this often in live traffic and from a pipe
# Packets so old may still be in the kernel's ring, which hands over after 0.05 s; tcpdump has buffers of its own.
_LIVE_IN_FLIGHT_NS = 250_000_000 if hasattr(socket, "AF_PACKET") else IN_FLIGHT_NS
_REPORTED = ("late", "evicted", "single_packet", "after_fin", "not_ipv4", "fragments_joined")


@dataclass
class MeterReport:
    """What one metering did; complete once its last table was taken."""

    stream: StreamFacts = field(default_factory=StreamFacts)
    packets: int = 0
    flows: int = 0
    open_flows: int = 0  # in the table now
    counts: Counter[str] = field(default_factory=Counter)
    dropped: int | None = None  # by the kernel, in live traffic
    seconds: float = 0.0

    def __str__(self) -> str:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.stream.skipped.items())) or "none"
        lines = [
            f"{self.stream.frames:,} frames ({self.stream.bytes:,} bytes), {self.packets:,} packets, "
            f"{self.flows:,} flows in {self.seconds:.1f} s ({self.packets / max(self.seconds, 1e-9):,.0f} packets/s)",
            f"skipped: {skipped}",
        ]
        if self.dropped is not None:
            lines.append(f"dropped by the kernel: {self.dropped:,}")
        lines += [f"{name.replace('_', ' ')}: {count:,}" for name, count in sorted(self.counts.items()) if count]
        lines += [f"{name}: {what}" for name, what in self.stream.cut.items()]
        return "\n".join(lines)


Progress = Callable[[MeterReport], None]


def meter_captures(
    captures: Sequence[Capture],
    settings: MeterSettings,
    *,
    inner: bool = False,
    sensor: str = "",
    payload_first: int = 0,
    report: MeterReport | None = None,
    progress: Progress | None = None,
) -> Iterator[FlowTable]:
    """Flow tables of captures, in order of the flows' ends. Context columns come in `corrected` mode only.

    `payload_first`: add the first so many payload bytes of each direction, as binary columns outside the schema. From a
    Pipe, flows come within about a second of their ends.

    Raises InputError where a capture cannot be read.
    """
    run = _Run(settings, sensor, MeterReport() if report is None else report, payload_first, inner)
    clock = PipeClock() if any(isinstance(capture, Pipe) for capture in captures) else None
    for packets in read_packets(captures, run.report.stream, inner=inner, original=run.original, watch=run.watch):
        yield from run.tables(run.meter.feed(packets))
        run.count(packets)
        if clock is not None:
            until_ns = clock.all_came_until_ns(packets)
            if until_ns is not None:
                yield from run.tables(run.meter.advance(until_ns))
            yield from run.promptly()
        if progress is not None:
            progress(run.report)
    yield from run.tables(run.meter.flush())
    run.close()


def meter_live(  # noqa: PLR0913 - each by name
    interface: str,
    settings: MeterSettings,
    stop: Callable[[], bool],
    *,
    inner: bool = False,
    sensor: str = "",
    payload_first: int = 0,
    report: MeterReport | None = None,
    progress: Progress | None = None,
    recent: RecentPackets | None = None,
) -> Iterator[FlowTable]:
    """Flow tables of an interface until `stop` says so, then of the flows still open; the values are those that
    metering a capture of the same packets gives. `recent`, made with the same `inner` and mode, is kept filled.

    Raises InputError where the interface cannot be captured.
    """
    run = _Run(settings, sensor, MeterReport() if report is None else report, payload_first, inner, recent)
    decoder = Decoder(inner=inner, original=run.original, watch=run.watch)
    facts, asked_ns = LiveFacts(), time.time_ns()
    for frames in live_frames(interface, stop, facts):
        if frames is None:
            yield from run.tables(run.meter.advance(asked_ns - _LIVE_IN_FLIGHT_NS))
        else:
            packets = decoder(frames)
            yield from run.tables(run.meter.feed(packets))
            run.count(packets)
            run.report.stream.bytes += int(frames.records["captured"].sum())
            if recent is not None:
                recent.keep(frames)
        yield from run.promptly()
        run.report.stream.frames, run.report.dropped = facts.frames, facts.dropped
        asked_ns = time.time_ns()  # before the kernel is asked: a busy machine may take its time to tell us
        if progress is not None:
            progress(run.report)
    yield from run.tables(run.meter.flush())
    run.report.stream.skipped, run.report.dropped = decoder.skipped, facts.dropped
    run.close()


def no_flows(settings: MeterSettings, payload_first: int = 0) -> FlowTable:
    """A table of no flows with the columns that metering gives."""
    return next(_Run(settings, "", MeterReport(), payload_first).tables(iter((np.empty(0, FLOW),))))


class _Run:
    """A meter, the context of what it saw, and the report of both."""

    def __init__(
        self,
        settings: MeterSettings,
        sensor: str,
        report: MeterReport,
        payload_first: int = 0,
        inner: bool = False,
        recent: RecentPackets | None = None,
    ) -> None:
        self.report, self.original, self._recent = report, settings.mode == "cicflowmeter", recent
        self._heads = (
            PayloadHeads(payload_first, settings.max_flows, BATCH_FLOWS, inner=inner, original=self.original)
            if payload_first
            else None
        )
        self.meter = FlowMeter(settings, heads=self._heads)
        self._settings, self._sensor, self._began_s = settings, sensor, time.perf_counter()
        self._handed_out_s = time.monotonic()
        self._around = None if self.original else empty_tables()

    def tables(self, batches: Iterator[Any]) -> Iterator[FlowTable]:
        for records in batches:
            self.report.flows += len(records)
            around = None if self._around is None else context(self._around, records)
            table = flow_table(records, self._settings.mode, sensor=self._sensor, context=around)
            if self._recent is not None:
                self._recent.note(table)
            yield table if self._heads is None else with_payload(table, self._heads)

    def promptly(self) -> Iterator[FlowTable]:
        """The flows that have ended, where none were handed out for a moment."""
        if time.monotonic() - self._handed_out_s > _PROMPT_S:
            yield from self.tables(self.meter.ended())
            self._handed_out_s = time.monotonic()

    @property
    def watch(self) -> Watch | None:
        return None if self._heads is None else self._heads.note

    def count(self, packets: Any) -> None:
        self.report.packets += len(packets)
        self.report.open_flows = self.meter.counts["live"]
        self.report.seconds = time.perf_counter() - self._began_s

    def close(self) -> None:
        self.report.seconds = time.perf_counter() - self._began_s
        self.report.counts.update({name: n for name, n in self.meter.counts.items() if name in _REPORTED})
