"""Captures to flow tables, in one streaming pass of bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from netwarden.capture.context import context, empty_tables
from netwarden.capture.meter import FlowMeter, MeterSettings
from netwarden.capture.stream import Capture, StreamFacts, read_packets
from netwarden.capture.tables import flow_table
from netwarden.flows.table import FlowTable


@dataclass
class MeterReport:
    """What one metering did; complete once its last table was taken."""

    stream: StreamFacts = field(default_factory=StreamFacts)
    packets: int = 0
    flows: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        skipped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.stream.skipped.items())) or "none"
        lines = [
            f"{self.stream.frames:,} frames ({self.stream.bytes:,} bytes), {self.packets:,} packets, "
            f"{self.flows:,} flows",
            f"skipped: {skipped}",
        ]
        lines += [f"{name.replace('_', ' ')}: {count:,}" for name, count in sorted(self.counts.items()) if count]
        lines += [f"{name}: {what}" for name, what in self.stream.cut.items()]
        return "\n".join(lines)


def meter_captures(
    captures: Sequence[Capture],
    settings: MeterSettings,
    *,
    inner: bool = False,
    sensor: str = "",
    report: MeterReport | None = None,
    progress: Callable[[MeterReport], None] | None = None,
) -> Iterator[FlowTable]:
    """Flow tables of captures, in order of the flows' ends. Context columns come in `corrected` mode only.

    Raises InputError where a capture cannot be read.
    """
    report = MeterReport() if report is None else report
    original = settings.mode == "cicflowmeter"
    meter, around = FlowMeter(settings), None if original else empty_tables()

    def tables(batches: Iterator[Any]) -> Iterator[FlowTable]:
        for records in batches:
            report.flows += len(records)
            yield flow_table(
                records, settings.mode, sensor=sensor, context=None if around is None else context(around, records)
            )

    for packets in read_packets(captures, report.stream, inner=inner, original=original):
        report.packets += len(packets)
        yield from tables(meter.feed(packets))
        if progress is not None:
            progress(report)
    yield from tables(meter.flush())
    report.counts.update({name: count for name, count in meter.counts.items() if name in _REPORTED})


_REPORTED = ("late", "evicted", "single_packet", "after_fin", "not_ipv4", "fragments_joined")
