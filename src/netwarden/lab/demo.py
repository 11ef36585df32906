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
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pacsv

from netwarden.capture.opening import CaptureFile, open_capture
from netwarden.errors import InputError
from netwarden.lab.record import CAPTURE, TRUTH, meter_recording
from netwarden.lab.truth import label_flows, load_truth

LARGEST_BYTES = 3_000_000
_HEADER = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_MICROSECONDS = 0xA1B2C3D4
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


def build_demo(recording: Path, target: Path, from_s: float, until_s: float, snap_bytes: int) -> Demo:
    """Packets of a recording from one second to another as `target` (.pcap.gz), the truth beside it (.truth.csv.gz).

    Raises InputError where the piece would be too large.
    """
    truth = load_truth(recording / TRUTH)
    window = tuple(truth.starts_us + round(at_s * 1e6) for at_s in (from_s, until_s))
    with closing(open_capture(recording / CAPTURE)) as source:
        packets = list(_packets(source, (window[0], window[1]), snap_bytes))
    header = _HEADER.pack(_MICROSECONDS, 2, 4, 0, 0, snap_bytes, 1)
    packed = gzip.compress(header + b"".join(packets), 9, mtime=0)
    if len(packed) > LARGEST_BYTES:
        raise InputError(
            f"the demo would take {len(packed) / 1e6:.1f} MB; cut it shorter, or its packets (--snap-bytes)"
        )
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


def _packets(source: BinaryIO | CaptureFile, window_us: tuple[int, int], snap_bytes: int) -> Iterator[bytes]:
    """Records of a capture of ours (microseconds, this byte order) within a window of time, cut to so many bytes."""
    magic = _HEADER.unpack(source.read(_HEADER.size))[0]
    if magic != _MICROSECONDS:
        raise InputError("the recording's capture is not one that the lab wrote")
    while len(head := source.read(_RECORD.size)) == _RECORD.size:
        seconds, micros, held, whole = _RECORD.unpack(head)
        data = source.read(held)
        if window_us[0] <= seconds * 1_000_000 + micros < window_us[1]:
            yield _RECORD.pack(seconds, micros, min(held, snap_bytes), whole) + data[:snap_bytes]
