"""Captures opened, whatever they are compressed with, and told from other files by content. Light to import."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from netwarden.capture.pipe import Pipe, WaitingPipe
from netwarden.errors import InputError

PCAP_MAGIC = {
    b"\xd4\xc3\xb2\xa1": ("little", 1000),
    b"\xa1\xb2\xc3\xd4": ("big", 1000),
    b"\x4d\x3c\xb2\xa1": ("little", 1),
    b"\xa1\xb2\x3c\x4d": ("big", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
CAPTURE_ENDINGS = tuple(
    ending + packed for ending in (".pcap", ".pcapng", ".cap") for packed in ("", ".gz", ".zst", ".xz")
)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zX": "xz"}
DAMAGE = (EOFError, OSError, lzma.LZMAError, zlib.error)  # what reading a compressed file cut short may raise
_ZSTD_PIECE_BYTES = 1 << 16  # what Arrow unpacks at once: a longer read that meets a cut loses what it has


def is_capture(path: Path) -> bool:
    """Whether a file is a capture, compressed or not, by its first bytes; else whether its name says that it is one."""
    try:
        stream = open_capture(path)
        try:
            start = stream.read(4)
        finally:
            stream.close()
    except (InputError, *DAMAGE):
        start = b""
    return start in PCAP_MAGIC or start == PCAPNG_MAGIC or path.name.lower().endswith(CAPTURE_ENDINGS)


def open_capture(source: Path | str | BinaryIO | Pipe) -> BinaryIO | CaptureFile | Pipe | _Unpacked:
    """Decompressed bytes of a file or a pipe; an open stream as it is. Raises InputError."""
    if isinstance(source, Pipe):
        return _unpacked(WaitingPipe(source), source.peek(4)) or source
    if isinstance(source, (str, Path)):
        return CaptureFile(Path(source))
    return source


class CaptureFile:
    """The decompressed bytes of a capture file. `name` is the file's, without folders."""

    def __init__(self, path: Path) -> None:
        try:
            self._raw: BufferedReader = path.open("rb")
            self._size = max(path.stat().st_size, 1)
            head = self._raw.read(4)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        self.name = path.name
        self._raw.seek(0)
        self._stream = _unpacked(self._raw, head) or self._raw

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def readinto(self, room: memoryview) -> int:
        """Bytes read straight into `room`: for a plain file without a copy, which is half of what walking it costs."""
        if self._stream is self._raw:
            return self._raw.readinto(room)
        chunk = self._stream.read(len(room))
        room[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        self._raw.close()

    @property
    def position(self) -> float:
        """Share of the file read so far."""
        return 1.0 if self._raw.closed else min(self._raw.tell() / self._size, 1.0)


def _unpacked(raw: Any, head: bytes) -> _Unpacked | None:
    """What is packed in `raw`, which begins with `head`; None where nothing is packed."""
    kind = next((kind for mark, kind in _COMPRESSED.items() if head.startswith(mark)), "")
    if kind == "zstd":
        stream = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")
        return _Unpacked(stream, lambda size: stream.read(min(size, _ZSTD_PIECE_BYTES)))
    if kind:
        packed = gzip.GzipFile(fileobj=raw) if kind == "gzip" else lzma.LZMAFile(raw)  # noqa: SIM115 - closed by its holder
        return _Unpacked(packed, packed.read1)
    return None


class _Unpacked:
    """The bytes of a compressed stream; all that can be unpacked before a cut or damage comes before its error."""

    def __init__(self, stream: Any, some: Callable[[int], bytes]) -> None:
        self._stream, self._some = stream, some
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        parts, left = [], size
        while left > 0 and self._error is None:
            try:
                part = self._some(left)
            except DAMAGE as error:
                self._error = error
                break
            parts.append(part)
            left -= len(part)
            if not part:
                break
        if self._error is not None and left == size:
            raise self._error
        return b"".join(parts)

    def close(self) -> None:
        self._stream.close()
