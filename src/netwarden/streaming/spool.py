"""Bodies kept on disk, in order, while they cannot be sent; what a killed sensor left is sent by the next one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from netwarden.errors import ConfigError

_ENDING = ".batch"


@dataclass(frozen=True)
class Spooled:
    """One body on disk, and how many flows it holds."""

    path: Path
    flows: int
    bytes: int


class Spool:
    """First in, first out, at most `most_bytes`. One process at a time uses a folder; not safe between threads."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob("*.part"):  # of a process that was killed while it wrote
                left.unlink()
            self._kept = deque(_found(path) for path in sorted(folder.glob(f"*{_ENDING}")))
        except OSError as error:
            raise ConfigError(f"spool {folder} cannot be used ({error.strerror}); is NETWARDEN_HOME right?") from None
        self._next = _number(self._kept[-1].path) + 1 if self._kept else 0
        self.fault = ""  # why the last body had no room, until there is some
        self._joined = 0  # so many of the first are as large as they get
        self.bytes = sum(one.bytes for one in self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def append(self, body: bytes, flows: int) -> bool:
        """Keep a body; False where there is no room for it, be it by the bound or on the disk: `fault` says which."""
        if self.bytes + len(body) > self._most_bytes:
            self.fault = f"{self._folder} holds the {self._most_bytes:,} bytes that stream.spool_mb allows"
            return False
        one = self._written(self._next, body, flows)
        if one is None:
            return False
        self._next += 1
        self._kept.append(one)
        self.bytes += len(body)
        return True

    def _written(self, number: int, body: bytes, flows: int) -> Spooled | None:
        path = self._folder / f"{number:012}-{flows}{_ENDING}"
        part = path.with_suffix(".part")
        try:
            part.write_bytes(body)
            part.replace(path)
        except OSError as error:  # the disk is full, or gone
            part.unlink(missing_ok=True)
            self.fault = f"{self._folder} cannot be written: {error.strerror}"
            return None
        self.fault = ""
        return Spooled(path, flows, len(body))

    def oldest(self, most_flows: int = 1) -> list[tuple[Spooled, bytes]]:
        """The oldest bodies: one, and those behind it up to so many flows together."""
        taken: list[tuple[Spooled, bytes]] = []
        flows = 0
        for one in self._kept:
            flows += one.flows
            if taken and flows > most_flows:
                break
            taken.append((one, one.path.read_bytes()))
        return taken

    def small(self, flows: int) -> list[bytes]:
        """The first bodies that have not been joined, as many as fit into so many flows; none while there are fewer."""
        taken, held = list[Spooled](), 0
        for one in islice(self._kept, self._joined, None):
            held += one.flows
            if held > flows:
                return [each.path.read_bytes() for each in taken or [one]]
            taken.append(one)
        return []

    def join(self, count: int, body: bytes) -> bool:
        """Put a body in the place of the first `count` of `small`, all of which it holds; False where the disk is full.

        Cut short, it leaves some of them beside it: what is sent twice is known by its ids.
        """
        old = list(islice(self._kept, self._joined, self._joined + count))
        if count > 1:
            new = self._written(_number(old[0].path), body, sum(one.flows for one in old))
            if new is None:
                return False
            for one in old:
                one.path.unlink(missing_ok=True)
            self._kept.rotate(-self._joined)
            for _ in old:
                self._kept.popleft()
            self._kept.appendleft(new)
            self._kept.rotate(self._joined)
            self.bytes += new.bytes - sum(one.bytes for one in old)
        self._joined += 1
        return True

    def holds_first(self, one: Spooled) -> bool:
        """Whether this is still the oldest."""
        return bool(self._kept) and self._kept[0] is one

    def remove_first(self) -> Spooled:
        """Forget the oldest body, which is returned."""
        oldest = self._kept.popleft()
        self.fault = ""
        self._joined = max(0, self._joined - 1)
        oldest.path.unlink(missing_ok=True)
        self.bytes -= oldest.bytes
        return oldest


def _number(path: Path) -> int:
    return int(path.name.split("-")[0])


def _found(path: Path) -> Spooled:
    return Spooled(path, int(path.stem.split("-")[1]), path.stat().st_size)
