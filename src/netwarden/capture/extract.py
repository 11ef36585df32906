"""The packets behind a flow, as a capture of their own."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow.compute as pc

from netwarden.capture.meter import FlowMeter, MeterSettings
from netwarden.capture.pcap import Frames, read_capture
from netwarden.capture.stream import Capture, Decoder, StreamFacts, read_packets
from netwarden.capture.tables import flow_table
from netwarden.errors import InputError
from netwarden.flows.writing import drafts, why

_TCP, _UDP = 6, 17
_PCAP_NS = 0xA1B23C4D
_LONGEST_FRAME = 262_144
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEY_COLUMNS = ["flow_id", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "started_at", "flow_duration_us"]


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
    with pcap_writer(target) as write:
        for capture in captures:
            decoder = Decoder(inner=inner, original=original)
            for frames in read_capture(capture):
                written += write(frames, flow.frames_of(decoder(frames), original=original))
        if not written:
            raise InputError(f"no packet of flow {wanted} was found again; have the captures changed meanwhile?")
    return written


@dataclass(frozen=True)
class FlowKey:
    """Endpoints, protocol and time of one flow: what tells its packets from others."""

    source: tuple[int, int]  # upper and lower half of the address
    target: tuple[int, int]
    source_port: int
    target_port: int
    protocol: int
    start_us: int
    last_us: int

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> FlowKey:
        """Of a row of a flow table."""
        start_us = (row["started_at"] - _EPOCH) // timedelta(microseconds=1)
        return cls(
            divmod(int(ipaddress.ip_address(row["src_ip"])), 1 << 64),
            divmod(int(ipaddress.ip_address(row["dst_ip"])), 1 << 64),
            row["src_port"],
            row["dst_port"],
            row["protocol"],
            start_us,
            start_us + row["flow_duration_us"],
        )

    def frames_of(self, packets: Any, *, original: bool = False) -> Any:
        """Positions of the frames whose packets run between the endpoints, either way, within the flow's time.

        `original`: packets as the original CICFlowMeter names them, to which all but TCP and UDP is protocol 0.
        """
        if original:
            packets = _as_original(packets)
        times = packets["time_ns"] // 1000
        inside = (times >= self.start_us) & (times <= self.last_us) & (packets["protocol"] == self.protocol)
        there = self._between(packets, "source", "target")
        return packets["frame"][inside & (there | self._between(packets, "target", "source"))]

    def _between(self, packets: Any, source: str, target: str) -> Any:
        def is_at(side: str, address: tuple[int, int], port: int) -> Any:
            at_port = (packets[f"{side}_port"] == port) | (packets["fragment"] == 2)
            return (packets[f"{side}_high"] == address[0]) & (packets[f"{side}_low"] == address[1]) & at_port

        return is_at(source, self.source, self.source_port) & is_at(target, self.target, self.target_port)


def _as_original(packets: Any) -> Any:
    packets = packets.copy()
    other = ~np.isin(packets["protocol"], (_TCP, _UDP)) | (packets["header_bytes"] == 0)
    for name in ("protocol", "source_port", "target_port", "fragment"):
        packets[name][other] = 0
    return packets


def _find(captures: Sequence[Capture], wanted: str, settings: MeterSettings, inner: bool, sensor: str) -> FlowKey:
    meter = FlowMeter(settings)
    original = settings.mode == "cicflowmeter"
    found: list[dict[str, Any]] = []

    def search(batches: Iterator[Any]) -> None:
        for records in batches:
            arrow = flow_table(records, settings.mode, sensor=sensor).arrow.select(KEY_COLUMNS)
            found.extend(arrow.filter(pc.starts_with(arrow.column("flow_id"), wanted)).to_pylist())

    for packets in read_packets(captures, StreamFacts(), inner=inner, original=original):
        search(meter.feed(packets))
    search(meter.flush())
    if not found:
        raise InputError(f"no flow here has id {wanted}; was it metered in another mode, or from another capture?")
    return only_flow(found, wanted)


def only_flow(found: Sequence[dict[str, Any]], wanted: str) -> FlowKey:
    """The key of the one row that was found. Raises InputError where there are more."""
    if len(found) > 1:
        raise InputError(f"{len(found)} flows have ids that begin with {wanted!r}; give more of the id")
    return FlowKey.of_row(found[0])


@contextmanager
def pcap_writer(target: Path) -> Iterator[Any]:
    """A function that appends chosen frames; the file appears whole or not at all."""
    state: dict[str, int] = {}
    with written_whole(target) as file:

        def write(frames: Frames, chosen: Any) -> int:
            for row in chosen.tolist():
                _write_frame(file, frames, row, state)
            return len(chosen)

        yield write


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """A file that takes the target's name when the block ends well. Raises InputError where it cannot be written."""
    try:
        with drafts(target) as (draft,), draft.open("wb") as file:
            yield file
    except (ConnectionError, TimeoutError):
        raise  # of a socket that is read meanwhile
    except OSError as error:
        raise InputError(f"{target} cannot be written: {why(error)}") from None


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
