"""A pipe that a capture arrives through, such as tcpdump's: what is there is read at once, and silence is told."""

from __future__ import annotations

import fcntl
import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

IN_FLIGHT_NS = 1_000_000_000  # packets this old may still wait in the kernel's ring, or in tcpdump
_MOST_DELAY_NS = 60_000_000_000
_QUIET_MS = 100
_LAST_S = 1.0  # a writer that goes on after the stop is read for so long at most
_ROOM_BYTES = 1 << 20  # asked of the kernel: the fuller the pipe may be, the fewer and larger the reads


class Pipe:
    """The bytes behind a file descriptor (standard input, another program's output) until they end or `stop` says so.

    After the stop, what the writer has written already is still read.
    """

    name = "standard input"

    def __init__(self, descriptor: int, stop: Callable[[], bool] = lambda: False) -> None:
        self._descriptor, self._stop = descriptor, stop
        self._stopped_s: float | None = None
        self._peeked = b""
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLIN)
        with suppress(OSError, AttributeError):  # it is a file, or the system has no such request
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _ROOM_BYTES)

    @property
    def stopped(self) -> bool:
        return self._stopped_s is not None

    def read(self, size: int) -> bytes | None:
        """What is there, up to `size` bytes; None where nothing came for a tenth of a second; b"" at the end."""
        if self._peeked:
            taken, self._peeked = self._peeked[:size], self._peeked[size:]
            return taken
        if self._stopped_s is None and self._stop():
            self._stopped_s = time.monotonic()
        if self._stopped_s is not None and time.monotonic() - self._stopped_s > _LAST_S:
            return b""
        if self._poller.poll(_QUIET_MS):
            return os.read(self._descriptor, size)
        return b"" if self.stopped else None

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; they stay to be read."""
        ahead = self._peeked
        self._peeked = b""
        while len(ahead) < size and (more := self.read_waiting(size - len(ahead))):
            ahead += more
        self._peeked = ahead
        return ahead

    def read_waiting(self, size: int) -> bytes:
        """As `read`, but silence is waited out."""
        while (taken := self.read(size)) is None:
            pass
        return taken

    def close(self) -> None:
        """Nothing to do: the descriptor belongs to whoever gave it."""


class WaitingPipe:
    """A pipe as decompressors read one: an ordinary file."""

    closed = False

    def __init__(self, pipe: Pipe) -> None:
        self.read, self.close = pipe.read_waiting, pipe.close


class PipeClock:
    """The time where a pipe's packets are captured, as far as can be told: this machine's, less the least delay seen.

    Live packets come within a minute of their time. Of others, which were recorded, silence tells nothing: however
    slowly a capture is handed over, its flows are the same.
    """

    def __init__(self) -> None:
        self._delay_ns: int | None = None
        self._asked_ns = time.time_ns()

    def all_came_until_ns(self, packets: Any) -> int | None:
        """To be called after each batch (PACKET): where it is empty, the time whose packets have all come, if known."""
        asked_ns, self._asked_ns = self._asked_ns, time.time_ns()  # the next batch is asked for after this
        if len(packets):
            delay_ns = self._asked_ns - int(packets["time_ns"].max())
            self._delay_ns = delay_ns if self._delay_ns is None else min(delay_ns, self._delay_ns)
            return None
        if self._delay_ns is None or abs(self._delay_ns) > _MOST_DELAY_NS:
            return None
        return asked_ns - self._delay_ns - IN_FLIGHT_NS
