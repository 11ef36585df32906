"""The packets behind a flow, as a capture of their own."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from netwarden.capture.meter import FlowMeter, MeterSettings
from netwarden.capture.pcap import Frames, read_capture
from netwarden.capture.stream import Capture, Decoder, StreamFacts, read_packets
from netwarden.capture.tables import flow_table
from netwarden.errors import InputError

_PCAP_NS = 0xA1B23C4D
_LONGEST_FRAME = 262_144


def extract_flow(
    captures: Sequence[Capture],
    wanted: str,
    target: Path,
    settings: MeterSettings,
    *,
    inner: bool = False,
    sensor: str = "",
) -> int:
    """Write the packets of the flow with id `wanted` (or a unique beginning of it) to a pcap; returns how many.

    Reads the captures twice: once for the flow's endpoints and times, once for its packets.
    Raises InputError where no flow, or more than one, has that id.
    """
    flow = _find(captures, wanted, settings, inner, sensor)
    original = settings.mode == "cicflowmeter"
    written = 0
    with _pcap_writer(target) as write:
        for capture in captures:
            decoder = Decoder(inner=inner, original=original)
            for frames in read_capture(capture):
                packets = decoder(frames)
                chosen = packets["frame"][_belongs(packets, flow)]
                written += write(frames, chosen)
    return written


def _find(captures: Sequence[Capture], wanted: str, settings: MeterSettings, inner: bool, sensor: str) -> Any:
    meter = FlowMeter(settings)
    original = settings.mode == "cicflowmeter"
    found: list[Any] = []

    def search(batches: Iterator[Any]) -> None:
        for records in batches:
            ids = flow_table(records, settings.mode, sensor=sensor).arrow.column("flow_id").to_pylist()
            found.extend(records[row].copy() for row, each in enumerate(ids) if each.startswith(wanted))

    for packets in read_packets(captures, StreamFacts(), inner=inner, original=original):
        search(meter.feed(packets))
    search(meter.flush())
    if len(found) != 1:
        many = f"{len(found)} flows begin with" if found else "no flow here has"
        raise InputError(f"{many} id {wanted}; was it metered in another mode, or from another capture?")
    return found[0]


def _belongs(packets: Any, flow: Any) -> Any:
    """Which packets run between the flow's endpoints, either way, within its time."""

    def between(source: str, target: str) -> Any:
        return (
            (packets["source_low"] == flow[f"{source}_low"])
            & (packets["source_high"] == flow[f"{source}_high"])
            & (packets["target_low"] == flow[f"{target}_low"])
            & (packets["target_high"] == flow[f"{target}_high"])
            & ((packets["source_port"] == flow[f"{source}_port"]) | (packets["fragment"] == 2))
            & ((packets["target_port"] == flow[f"{target}_port"]) | (packets["fragment"] == 2))
        )

    times = packets["time_ns"] // 1000
    inside = (times >= flow["start_us"]) & (times <= flow["last_us"]) & (packets["protocol"] == flow["protocol"])
    return inside & (between("source", "target") | between("target", "source"))


@contextmanager
def _pcap_writer(target: Path) -> Iterator[Any]:
    """A function that appends chosen frames; the file appears whole or not at all."""
    draft = target.with_name(f".{target.name}.part")
    state: dict[str, int] = {}
    try:
        with draft.open("wb") as file:

            def write(frames: Frames, chosen: Any) -> int:
                for row in chosen.tolist():
                    _write_frame(file, frames, row, state)
                return len(chosen)

            yield write
        os.replace(draft, target)  # noqa: PTH105 - as atomic as Path.replace, and says so
    finally:
        draft.unlink(missing_ok=True)


def _write_frame(file: BinaryIO, frames: Frames, row: int, state: dict[str, int]) -> None:
    record = frames.records[row]
    link = int(record["link"])
    if "link" not in state:
        file.write(struct.pack("<IHHiIII", _PCAP_NS, 2, 4, 0, 0, _LONGEST_FRAME, link))
        state["link"] = link
    if state["link"] != link:
        raise InputError("the flow's packets come from interfaces of different link types, which one pcap cannot hold")
    data = frames.buffer[record["offset"] : record["offset"] + record["captured"]].tobytes()
    seconds, nanoseconds = divmod(int(record["time_ns"]), 1_000_000_000)
    file.write(struct.pack("<IIII", seconds, nanoseconds, len(data), len(data)) + data)
