"""The demo capture: a piece of a recording, its packets cut to their headers, and the truth of its flows."""

from __future__ import annotations

import gzip
import io
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from netwarden.capture.opening import CaptureFile
from netwarden.errors import InputError
from netwarden.lab.record import CAPTURE, TRUTH, meter_recording
from netwarden.lab.truth import label_flows, load_truth

LARGEST_BYTES = 3_000_000
_HEADER = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MICROSECONDS = 0xA1B2C3D4
_ETHERNET_BYTES = 14
Conversation = tuple[bytes, frozenset[bytes]]
_KEY = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")


@dataclass(frozen=True)
class Demo:
    """What was written."""

    packets: int
    size_bytes: int
    labels: Counter[str]

    def __str__(self) -> str:
        told = ", ".join(f"{label} {flows:,}" for label, flows in self.labels.most_common())
        return f"{self.packets:,} packets, {self.size_bytes / 1e6:.1f} MB, {self.labels.total():,} flows: {told}"


@dataclass(frozen=True)
class Cut:
    """Which piece of a recording: conversations that begin between two seconds, whole, without those of more packets
    (bulk copies, which would fill the file), each packet cut to so many bytes.
    """

    from_s: float = 0.0
    until_s: float = 60.0
    most_packets: int = 300
    snap_bytes: int = 80


def build_demo(recording: Path, target: Path, cut: Cut) -> Demo:
    """A piece of a recording as `target` (.pcap.gz), the truth of its flows beside it (.truth.csv.gz).

    Raises InputError where the piece would be too large.
    """
    truth = load_truth(recording / TRUTH)
    with closing(CaptureFile(recording / CAPTURE)) as source:
        packets = _short_ones(list(_packets(source, truth.starts_us, cut)), cut.most_packets)
    header = _HEADER.pack(_MICROSECONDS, 2, 4, 0, 0, cut.snap_bytes, 1)
    packed = gzip.compress(header + b"".join(packets), 9, mtime=0)
    if len(packed) > LARGEST_BYTES:
        raise InputError(f"the demo would take {len(packed) / 1e6:.1f} MB; cut it shorter, or lower --most-packets")
    target.write_bytes(packed)
    flows = meter_recording(target)
    labels = label_flows(flows, truth).column("label")
    told = {name: flows.arrow.column(name) for name in _KEY}
    told |= {"started_at": flows.arrow.column("started_at").cast(pa.int64()), "label": labels}
    text = io.BytesIO()
    pacsv.write_csv(pa.table(told), text)
    truth_path = target.with_name(target.name.removesuffix(".pcap.gz") + ".truth.csv.gz")
    truth_path.write_bytes(gzip.compress(text.getvalue(), 9, mtime=0))
    return Demo(len(packets), len(packed), Counter(labels.to_pylist()))


def _packets(source: CaptureFile, starts_us: int, cut: Cut) -> Iterator[bytes]:
    """Records of the conversations that begin within the piece, also those after its end: half a conversation would be
    a flow that nobody made.
    """
    magic = _HEADER.unpack(source.read(_HEADER.size))[0]
    if magic != _MICROSECONDS:
        raise InputError("the recording's capture is not one that the lab wrote")
    first_us, end_us = (starts_us + round(at_s * 1e6) for at_s in (cut.from_s, cut.until_s))
    began_us: dict[Conversation, int] = {}
    while len(head := source.read(_RECORD.size)) == _RECORD.size:
        seconds, micros, held, whole = _RECORD.unpack(head)
        data = source.read(held)
        time_us = seconds * 1_000_000 + micros
        if first_us <= began_us.setdefault(_conversation(data), time_us) < end_us:
            yield _RECORD.pack(seconds, micros, min(held, cut.snap_bytes), whole) + data[: cut.snap_bytes]


def _short_ones(packets: list[bytes], most: int) -> list[bytes]:
    """The records of conversations that have at most so many."""
    conversations = [_conversation(packet[_RECORD.size :]) for packet in packets]
    count = Counter(conversations)
    return [packet for packet, of in zip(packets, conversations, strict=True) if count[of] <= most]


def _conversation(data: bytes) -> Conversation:
    """Protocol and both endpoints of an IPv4 packet, whichever way it goes."""
    frame = data[_ETHERNET_BYTES:]
    ports = (frame[0] & 15) * 4
    ends = (frame[12:16] + frame[ports : ports + 2], frame[16:20] + frame[ports + 2 : ports + 4])
    return frame[9:10], frozenset(ends)
