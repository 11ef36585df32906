"""Captures to packets: decoded batches of one file, or of several files as one stream in time order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netwarden.capture.decode import LINK_TYPES, SKIPS, decode
from netwarden.capture.pcap import CaptureFacts, Frames, read_capture
from netwarden.capture.pipe import Pipe
from netwarden.capture.records import PACKET
from netwarden.errors import InputError

Capture = Path | str | BinaryIO | Pipe
Watch = Callable[[Frames, Any], None]  # sees the frames of each batch, and the packets decoded from them


@dataclass
class StreamFacts:
    """What reading showed: frames and bytes, frames that are no packets by reason, and files that were cut."""

    frames: int = 0
    bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    cut: dict[str, str] = field(default_factory=dict)


class Decoder:
    """Frames to packets, counting what is skipped. One for each stream; its output is valid until the next call."""

    def __init__(self, *, inner: bool = False, original: bool = False, watch: Watch | None = None) -> None:
        self._inner, self._original, self._watch = inner, original, watch
        self._packets = np.empty(4096, PACKET)
        self._skipped = np.zeros(len(SKIPS), np.int64)

    def __call__(self, frames: Frames) -> Any:
        """PACKET records of the frames that hold IP."""
        if len(frames.records) > len(self._packets):
            self._packets = np.empty(len(frames.records), PACKET)
        count = decode(
            frames.buffer,
            frames.records,
            len(frames.records),
            self._packets,
            self._skipped,
            self._inner,
            self._original,
        )
        packets = self._packets[:count]
        if self._watch is not None:
            self._watch(frames, packets)
        return packets

    @property
    def skipped(self) -> Counter[str]:
        return Counter({name: int(count) for name, count in zip(SKIPS, self._skipped, strict=True) if count})


def read_packets(
    captures: Sequence[Capture],
    facts: StreamFacts,
    *,
    inner: bool = False,
    original: bool = False,
    watch: Watch | None = None,
) -> Iterator[Any]:
    """Batches of PACKET records of all captures in time order; a batch is valid until the next is asked for. A pipe
    gives empty ones too, while nothing comes.

    `inner`: meter what tunnels carry. `original`: decode as the original CICFlowMeter does.
    Raises InputError for a file that is no capture, or of a link type that is not read.
    """
    decoder = Decoder(inner=inner, original=original, watch=watch)
    try:
        if len(captures) == 1:
            yield from _one(captures[0], decoder, facts)
        else:
            yield from _merged(captures, decoder, facts)
    finally:
        facts.skipped.update(decoder.skipped)


def _one(capture: Capture, decoder: Decoder, facts: StreamFacts) -> Iterator[Any]:
    of_file = CaptureFacts(str(getattr(capture, "name", capture)))
    for frames in read_capture(capture, of_file):
        if not len(frames.records):
            yield np.empty(0, PACKET)
            continue
        _check_links(frames, of_file.name)
        facts.frames += len(frames.records)
        facts.bytes += int(frames.records["captured"].sum())
        yield decoder(frames)
    if of_file.cut:
        facts.cut[of_file.name] = of_file.cut


def _check_links(frames: Frames, name: str) -> None:
    first = int(frames.records["link"][0])
    if first not in LINK_TYPES and (frames.records["link"] == first).all():
        known = ", ".join(sorted(set(LINK_TYPES.values())))
        raise InputError(f"{name} has link type {first}, which is not read; known: {known}")


# --- several files ------------------------------------------------------------------------------------------


@dataclass
class _Lane:
    """One file in the merge: the packets read from it and not handed on."""

    batches: Iterator[Any]
    waiting: Any

    @property
    def reach_ns(self) -> int:
        """Up to when its packets are known; later ones of the file may still come."""
        return int(self.waiting["time_ns"].max())

    def take(self, until_ns: int) -> Any:
        """The packets up to the first one that is later than `until_ns`."""
        later = np.flatnonzero(self.waiting["time_ns"] > until_ns)
        stop = int(later[0]) if len(later) else len(self.waiting)
        taken, self.waiting = self.waiting[:stop], self.waiting[stop:]
        return taken


def _merged(captures: Sequence[Capture], decoder: Decoder, facts: StreamFacts) -> Iterator[Any]:
    """Packets of all files by time; a file is opened when the stream reaches its first packet."""
    closed = sorted(captures, key=_first_time_ns, reverse=True)
    lanes: list[_Lane] = []
    while lanes or closed:
        until_ns = min((lane.reach_ns for lane in lanes), default=None)
        if closed and (until_ns is None or _first_time_ns(closed[-1]) <= until_ns):
            _advance(_Lane(_one(closed.pop(), decoder, facts), np.empty(0, PACKET)), lanes)
            continue
        batch = np.concatenate([lane.take(until_ns) for lane in lanes if until_ns is not None])
        yield batch[np.argsort(batch["time_ns"], kind="stable")]
        for lane in [lane for lane in lanes if not len(lane.waiting)]:
            lanes.remove(lane)
            _advance(lane, lanes)


def _advance(lane: _Lane, lanes: list[_Lane]) -> None:
    """Read the lane's next batch and put it back; drop it at the end of its file."""
    for batch in lane.batches:
        if len(batch):
            lane.waiting = batch.copy()
            lanes.append(lane)
            return


def _first_time_ns(capture: Capture) -> int:
    if not isinstance(capture, (str, Path)) or str(capture) == "-":
        raise InputError("several captures can be merged only if all are files; give a pipe alone")
    frames = next(read_capture(capture), None)
    return 0 if frames is None else int(frames.records["time_ns"][0])
