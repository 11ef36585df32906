"""The latest packets of live traffic, bounded in bytes, so that those behind an alert can be saved by the flow's id."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow.compute as pc

from netwarden.capture.extract import KEY_COLUMNS, FlowKey, only_flow, pcap_writer
from netwarden.capture.pcap import Frames
from netwarden.capture.records import RECORD
from netwarden.capture.stream import Decoder
from netwarden.errors import ConfigError, InputError
from netwarden.flows.table import FlowTable

_BATCH_BYTES, _TABLE_BYTES = 1_000, 5_000  # of the objects around the data, which outweigh it in quiet traffic
_LEAST_BYTES = 4_000_000  # the kernel hands packets over in blocks of a megabyte
_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def bytes_of(size: str) -> int:
    """How many bytes `64MB` or `1GB` of recent packets are. Raises ConfigError for anything else, or too few."""
    number = size.upper().rstrip("KMGB")
    unit = size.upper().removeprefix(number)
    if not number.isdecimal() or unit not in _UNITS or int(number) * _UNITS[unit] < _LEAST_BYTES:
        raise ConfigError(f"--recent-packets is {size!r}; it is a size of at least 4MB, such as 64MB or 1GB")
    return int(number) * _UNITS[unit]


class RecentPackets:
    """Frames in the order of their arrival, and where the flows that were reported ran; the oldest go first.

    Three quarters of `most_bytes` are for frames, one for flows. `inner` and `original` are those of the metering. One
    thread may fill it while others save.
    """

    def __init__(self, most_bytes: int = 64_000_000, *, inner: bool = False, original: bool = False) -> None:
        self.most_bytes = most_bytes
        self._inner, self._original = inner, original
        self._flows: _Latest[Any] = _Latest(most_bytes // 4)
        self._frames: _Latest[Frames] = _Latest(most_bytes - most_bytes // 4)

    @property
    def bytes(self) -> int:
        return self._frames.bytes + self._flows.bytes

    def keep(self, frames: Frames) -> None:
        """Copy a batch of frames."""
        copied = _packed(frames)
        self._frames.append(copied, _BATCH_BYTES + len(copied.buffer) + len(copied.records) * RECORD.itemsize)

    def note(self, table: FlowTable) -> None:
        """Remember where the flows of a table ran; a later record of a flow counts instead of an interim one."""
        keys = table.arrow.select(KEY_COLUMNS)
        self._flows.append(keys, _TABLE_BYTES + keys.nbytes)

    def save(self, flow: str, target: Path) -> int:
        """Write the packets that are still here of the flow with id `flow` (or a unique beginning of it) to a pcap;
        returns how many.

        Raises InputError where the flow is unknown or none of its packets is left.
        """
        wanted, decoder = self._find(flow), Decoder(inner=self._inner, original=self._original)
        with pcap_writer(target) as write:
            written: int = sum(
                write(frames, wanted.frames_of(decoder(frames), original=self._original))
                for frames in self._frames.items()
            )
            if not written:
                raise InputError(f"the packets of flow {flow} are gone: the latest {self.most_bytes:,} bytes are kept")
        return written

    def _find(self, flow: str) -> FlowKey:
        found: dict[str, Any] = {}
        for keys in self._flows.items():
            chosen = keys.filter(pc.starts_with(keys.column("flow_id"), flow))
            found.update((row["flow_id"], row) for row in chosen.to_pylist())
        if not found:
            raise InputError(
                f"no flow of late has id {flow}; a flow is known from its first record until newer ones take its place"
            )
        return only_flow(list(found.values()), flow)


_Item = TypeVar("_Item")


class _Latest(Generic[_Item]):
    """The items added last, of so many bytes in all."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._kept: deque[tuple[_Item, int]] = deque()
        self._lock = Lock()

    def append(self, item: _Item, size: int) -> None:
        with self._lock:
            self._kept.append((item, size))
            self.bytes += size
            while self.bytes > self._most_bytes:
                self.bytes -= self._kept.popleft()[1]

    def items(self) -> list[_Item]:
        with self._lock:
            return [item for item, _ in self._kept]


def _packed(frames: Frames) -> Frames:
    """The frames' bytes alone, without what lies between and behind them."""
    records = frames.records.copy()
    records["offset"] = np.concatenate(([0], np.cumsum(records["captured"])[:-1]))
    parts = [
        frames.buffer[start : start + size]
        for start, size in zip(frames.records["offset"].tolist(), records["captured"].tolist(), strict=True)
    ]
    return Frames(np.concatenate(parts), records)
