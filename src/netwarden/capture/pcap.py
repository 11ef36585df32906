"""Capture files as batches of frames: pcap and pcapng in either byte order, plain or compressed, also from a pipe.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netwarden.capture.kernels import entry_kernel, inlined
from netwarden.capture.opening import DAMAGE, PCAP_MAGIC, PCAPNG_MAGIC, CaptureFile, open_capture
from netwarden.capture.pipe import Pipe
from netwarden.capture.records import RECORD
from netwarden.errors import InputError

_BATCH_FRAMES = 4096
_CHUNK_BYTES = 1 << 20
_MOST_FRAME_BYTES = 1 << 24  # a longer record is a damaged length, not a frame
_MOST_INTERFACES = 4096


@dataclass
class CaptureFacts:
    """What reading a capture showed; filled while its frames are read."""

    name: str
    frames: int = 0
    cut: str = ""  # what was missing at the end, empty where the file is whole


@dataclass(frozen=True)
class Frames:
    """Frames of one batch: `records` (RECORD) point into `buffer` (uint8). Valid until the next batch is asked for.

    A batch without frames comes from pipes alone, where nothing came for a tenth of a second.
    """

    buffer: Any
    records: Any


def read_capture(source: Path | str | BinaryIO | Pipe, facts: CaptureFacts | None = None) -> Iterator[Frames]:
    """Batches of frames of a capture file, of a pipe or of an open binary stream.

    A file cut anywhere yields all whole frames and says in `facts.cut` what was cut.
    Raises InputError where it is no capture, or of a version nobody reads.
    """
    name = str(getattr(source, "name", source))
    facts = CaptureFacts(name) if facts is None else facts
    stream = open_capture(source)
    try:
        window = _Window(stream)
        window.need(4)
        magic = bytes(window.view()[:4])
        if magic in PCAP_MAGIC:
            yield from _pcap(window, facts, *PCAP_MAGIC[magic])
        elif magic == PCAPNG_MAGIC:
            yield from _pcapng(window, facts)
        elif magic or not (isinstance(source, Pipe) and source.stopped):  # else it was stopped before anything came
            start = magic.hex() or ("packed data that is cut or damaged" if window.damaged else "nothing")
            raise InputError(f"{facts.name} is no capture file: it begins with {start}, not with a pcap or pcapng mark")
    finally:
        if stream is not source:
            stream.close()


@dataclass
class _Window:
    """A sliding view of a stream: unread bytes stay, more are read behind them."""

    stream: Any  # bytes by read(size), None for now where a pipe is quiet
    data: Any = field(default_factory=lambda: np.empty(2 * _CHUNK_BYTES, np.uint8))
    start: int = 0
    end: int = 0
    ended: bool = False
    quiet: bool = False  # nothing came at the last try, though more may come
    damaged: bool = False

    def view(self) -> Any:
        return self.data[self.start : self.end]

    def __len__(self) -> int:
        return self.end - self.start

    def more(self) -> bool:
        """Read what comes next behind what is there; False at the end of the stream."""
        if self.ended:
            return False
        if len(self.data) - self.end < _CHUNK_BYTES:
            self._make_room()
        try:
            count = self._fill(memoryview(self.data)[self.end : self.end + _CHUNK_BYTES])
        except DAMAGE:
            count, self.damaged = 0, True  # a compressed file cut short: what came before it is whole
        self.quiet = count is None
        self.end += count or 0
        self.ended = count == 0
        return not self.ended

    def _fill(self, room: memoryview) -> int | None:
        if isinstance(self.stream, CaptureFile):
            return self.stream.readinto(room)
        chunk = self.stream.read(len(room))
        if chunk is None:
            return None
        room[: len(chunk)] = chunk
        return len(chunk)

    def cut(self, unit: str) -> str:
        """What is missing at the end of the stream; empty where it is whole."""
        if len(self):
            return f"the last {unit} is cut short: {len(self)} bytes left over"
        return "the compressed data is cut short or damaged" if self.damaged else ""

    def need(self, count: int) -> bool:
        while len(self) < count:
            if not self.more():
                return False
        return True

    def _make_room(self) -> None:
        kept = self.data[self.start : self.end].copy()
        if len(kept) + _CHUNK_BYTES > len(self.data):
            self.data = np.empty(2 * (len(kept) + _CHUNK_BYTES), np.uint8)
        self.data[: len(kept)] = kept
        self.start, self.end = 0, len(kept)


# --- pcap ---------------------------------------------------------------------------------------------------


def _pcap(window: _Window, facts: CaptureFacts, order: str, unit_ns: int) -> Iterator[Frames]:
    if not window.need(24):
        facts.cut = "the file header is cut short"
        return
    link = int.from_bytes(bytes(window.view()[20:24]), order) & 0x0FFFFFFF  # type: ignore[arg-type]
    window.start += 24
    records = np.empty(_BATCH_FRAMES, RECORD)
    while True:
        taken, count, fault = walk_pcap(window.data, window.start, window.end, order == "big", unit_ns, link, records)
        if count:
            facts.frames += count
            yield Frames(window.data, records[:count])
        window.start = taken
        if fault:
            facts.cut = (
                f"record {facts.frames + 1} claims a length that no frame has; the file is damaged from there on"
            )
            return
        if count < _BATCH_FRAMES and not window.more():
            break
        if window.quiet:
            yield Frames(window.data, records[:0])
    facts.cut = window.cut("record")


@inlined
def _word(buffer, at, big):
    a, b, c, d = np.int64(buffer[at]), np.int64(buffer[at + 1]), np.int64(buffer[at + 2]), np.int64(buffer[at + 3])
    if big:
        return (a << 24) | (b << 16) | (c << 8) | d
    return (d << 24) | (c << 16) | (b << 8) | a


@entry_kernel
def walk_pcap(buffer, at, end, big, unit_ns, link, records):
    """(offset of the first frame not taken, frames taken, 1 where a length is impossible)."""
    count = 0
    while count < len(records) and at + 16 <= end:
        captured = _word(buffer, at + 8, big)
        if captured > _MOST_FRAME_BYTES:
            return at, count, 1
        if at + 16 + captured > end:
            break
        record = records[count]
        record.offset = at + 16
        record.captured = captured
        record.time_ns = _word(buffer, at, big) * 1_000_000_000 + _word(buffer, at + 4, big) * unit_ns
        record.link = link
        at += 16 + captured
        count += 1
    return at, count, 0


# --- pcapng -------------------------------------------------------------------------------------------------

_SECTION, _INTERFACE, _SIMPLE, _ENHANCED, _OBSOLETE = 0x0A0D0D0A, 1, 3, 6, 2
_STOP_SHORT, _STOP_DAMAGED, _STOP_BLOCK, _STOP_FULL = range(4)


@dataclass
class _Section:
    """Byte order and interfaces of the present pcapng section."""

    big: bool = False
    # per interface: link type, ticks per second as (numerator ns, denominator), offset in s, snap length
    interfaces: Any = field(default_factory=lambda: np.zeros((_MOST_INTERFACES, 5), np.int64))
    count: int = 0


def _pcapng(window: _Window, facts: CaptureFacts) -> Iterator[Frames]:
    section = _Section()
    records = np.empty(_BATCH_FRAMES, RECORD)
    while True:
        taken, count, why = walk_pcapng(
            window.data, window.start, window.end, section.big, section.interfaces, section.count, records
        )
        if count:
            facts.frames += count
            yield Frames(window.data, records[:count])
        window.start = taken
        if why == _STOP_DAMAGED or (why == _STOP_BLOCK and not _enter_block(window, section)):
            facts.cut = f"the block after frame {facts.frames} is damaged; the file is unreadable from there on"
            return
        if why == _STOP_SHORT and not window.more():
            break
        if window.quiet:
            yield Frames(window.data, records[:0])
    facts.cut = window.cut("block")


@entry_kernel
def walk_pcapng(buffer, at, end, big, interfaces, known, records):
    """(offset of the first block not taken, frames taken, why it stopped). Section and interface blocks stop it."""
    count = 0
    while at + 12 <= end:
        if count == len(records):
            return at, count, _STOP_FULL
        kind = _word(buffer, at, big)
        if kind in (_SECTION, _INTERFACE):
            return at, count, _STOP_BLOCK
        length = _word(buffer, at + 4, big)
        if length < 12 or length & 3 or length > _MOST_FRAME_BYTES:
            return at, count, _STOP_DAMAGED
        if at + length > end:
            return at, count, _STOP_SHORT
        if kind in (_ENHANCED, _OBSOLETE):
            if length < 32:
                return at, count, _STOP_DAMAGED
            interface = _word(buffer, at + 8, big)
            if kind == _OBSOLETE:
                interface = interface >> 16 if big else interface & 0xFFFF
            captured = _word(buffer, at + 20, big)
            if interface >= known or captured > length - 32:
                return at, count, _STOP_DAMAGED
            ticks = (_word(buffer, at + 12, big) << 32) | _word(buffer, at + 16, big)
            record = records[count]
            record.offset = at + 28
            record.captured = captured
            record.link = interfaces[interface, 0]
            whole, rest = ticks // interfaces[interface, 2], ticks % interfaces[interface, 2]
            record.time_ns = (
                whole * interfaces[interface, 1]
                + rest * interfaces[interface, 1] // interfaces[interface, 2]
                + interfaces[interface, 3] * 1_000_000_000
            )
            count += 1
        elif kind == _SIMPLE:
            if known == 0 or length < 16:
                return at, count, _STOP_DAMAGED
            captured = min(_word(buffer, at + 8, big), length - 16)
            if interfaces[0, 4] > 0:
                captured = min(captured, interfaces[0, 4])
            record = records[count]
            record.offset = at + 12
            record.captured = captured
            record.link = interfaces[0, 0]
            record.time_ns = 0
            count += 1
        at += length
    return at, count, _STOP_SHORT


def _enter_block(window: _Window, section: _Section) -> bool:
    """Read a section header or an interface description; False where it is damaged. Needs more bytes at times."""
    if not window.need(12):
        return False
    head = bytes(window.view()[:12])
    if head[:4] == PCAPNG_MAGIC:
        order = head[8:12]
        if order not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            return False
        section.big, section.count = order == b"\x1a\x2b\x3c\x4d", 0
    order_name = "big" if section.big else "little"
    length = int.from_bytes(head[4:8], order_name)  # type: ignore[arg-type]
    if length < 12 or length % 4 or length > _MOST_FRAME_BYTES or not window.need(length):
        return False
    block = bytes(window.view()[:length])
    if head[:4] != PCAPNG_MAGIC and not _add_interface(block, section, order_name):
        return False
    window.start += length
    return True


def _add_interface(block: bytes, section: _Section, order: str) -> bool:
    if len(block) < 20 or section.count >= _MOST_INTERFACES:
        return False

    def number(start: int, size: int) -> int:
        return int.from_bytes(block[start : start + size], order)  # type: ignore[arg-type]

    unit_ns, per, offset_s = 1000, 1, 0
    at = 16
    while at + 4 <= len(block) - 4:
        code, size = number(at, 2), number(at + 2, 2)
        if code == 0:
            break
        if code == 9 and size >= 1:  # if_tsresol
            unit_ns, per = _resolution(block[at + 4])
        elif code == 14 and size >= 8:  # if_tsoffset
            offset_s = int.from_bytes(block[at + 4 : at + 12], order, signed=True)  # type: ignore[arg-type]
        at += 4 + (size + 3) // 4 * 4
    section.interfaces[section.count] = (number(8, 2), unit_ns, per, offset_s, number(12, 4))
    section.count += 1
    return True


def _resolution(code: int) -> tuple[int, int]:
    """(nanoseconds, per ticks) of an if_tsresol value: a power of ten, or of two where the top bit is set."""
    exponent = code & 0x7F
    if code & 0x80:
        return 1_000_000_000, 1 << min(exponent, 32)
    if exponent <= 9:
        return 10 ** (9 - exponent), 1
    return 1, 10 ** min(exponent - 9, 9)
