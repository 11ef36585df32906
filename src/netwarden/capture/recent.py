"""The latest packets of live traffic, bounded in bytes, so that those behind an alert can be saved."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from netwarden.capture.extract import FlowKey, pcap_writer
from netwarden.capture.pcap import Frames
from netwarden.capture.records import RECORD
from netwarden.capture.stream import Decoder
from netwarden.errors import InputError


class RecentPackets:
    """Frames in the order of their arrival; the oldest go when `most_bytes` are reached."""

    def __init__(self, most_bytes: int = 64 << 20, *, inner: bool = False) -> None:
        self.most_bytes = most_bytes
        self.bytes = 0
        self._inner = inner
        self._kept: deque[Frames] = deque()

    def keep(self, frames: Frames) -> None:
        """Copy a batch of frames."""
        copied = _packed(frames)
        self._kept.append(copied)
        self.bytes += _size(copied)
        while self.bytes > self.most_bytes:
            self.bytes -= _size(self._kept.popleft())

    def save(self, flow: dict[str, Any], target: Path) -> int:
        """Write the packets of a flow (a row of a flow table) that are still here to a pcap; returns how many.

        Raises InputError where none is left.
        """
        wanted, decoder = FlowKey.of_row(flow), Decoder(inner=self._inner)
        with pcap_writer(target) as write:
            written: int = sum(write(frames, wanted.frames_of(decoder(frames))) for frames in self._kept)
            if not written:
                raise InputError(f"the packets of flow {flow['flow_id']} are gone: {self.most_bytes:,} bytes are kept")
        return written


def _packed(frames: Frames) -> Frames:
    """The frames' bytes alone, without what lies between and behind them."""
    records = frames.records.copy()
    records["offset"] = np.concatenate(([0], np.cumsum(records["captured"])[:-1]))
    parts = [
        frames.buffer[start : start + size]
        for start, size in zip(frames.records["offset"].tolist(), records["captured"].tolist(), strict=True)
    ]
    return Frames(np.concatenate(parts), records)


def _size(frames: Frames) -> int:
    return len(frames.buffer) + len(frames.records) * RECORD.itemsize
