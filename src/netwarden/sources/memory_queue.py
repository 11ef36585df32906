"""The queue and the feed of a single process, with pending and dead letters as a broker has them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from weakref import WeakValueDictionary

from netwarden import telemetry
from netwarden.errors import QueueFullError
from netwarden.sources.store import DeadLetter, Message, QueueLimits


@dataclass(frozen=True)
class _Held:
    message: Message
    since_s: float  # published, or handed out


class MemoryQueue:
    """Queue for producers and consumers in one process; safe to use from several threads."""

    def __init__(self, limits: QueueLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or QueueLimits()
        self._clock = clock
        self._dropped = 0
        self._bytes = 0  # of all that is ready or pending
        self._numbers = itertools.count(1)
        self._ready: deque[_Held] = deque()
        self._pending: OrderedDict[str, _Held] = OrderedDict()
        self._dead: deque[DeadLetter] = deque()
        self._changed = threading.Condition()

    @property
    def dropped(self) -> int:
        """Messages and dead letters lost to the bounds."""
        return self._dropped

    def _count_dropped(self, what: str) -> None:
        self._dropped += 1
        telemetry.QUEUE_DROPPED.labels(what).inc()

    def publish(self, body: bytes) -> str:
        """Append a body and return its id. Raises QueueFullError where there is no room in time."""
        with self._changed:
            self._make_room(len(body))
            return self._append(body)

    def _make_room(self, size: int) -> None:
        limits = self._limits
        if limits.when_full == "drop_oldest":
            overdue = self._clock() - limits.max_age_s
            while self._ready and (self._full(size) or (limits.max_age_s and self._ready[0].since_s < overdue)):
                self._bytes -= len(self._ready.popleft().message.body)
                self._count_dropped("batch")
        elif not self._changed.wait_for(lambda: not self._full(size), limits.publish_timeout_s):
            raise QueueFullError(
                f"the queue has been full ({len(self._ready) + len(self._pending)} messages, {self._bytes:,} bytes) "
                f"for {limits.publish_timeout_s:g} s; is a worker reading it?"
            )

    def _full(self, size: int) -> bool:
        held = len(self._ready) + len(self._pending)
        return held >= self._limits.messages or (held > 0 and self._bytes + size > self._limits.bytes)

    def _append(self, body: bytes) -> str:
        message = Message(str(next(self._numbers)), body, deliveries=0)
        self._ready.append(_Held(message, self._clock()))
        self._bytes += len(body)
        self._changed.notify_all()
        return message.message_id

    def read(self, consumer: str, limit: int, wait_s: float) -> list[Message]:  # noqa: ARG002 - all are one process
        """Next messages for a consumer; they stay pending until acknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._ready), wait_s)
            taken = [self._ready.popleft().message for _ in range(min(limit, len(self._ready)))]
            return [self._hand_out(message) for message in taken]

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Forget messages that are done; unknown ids are ignored."""
        with self._changed:
            for message_id in message_ids:
                self._finish(message_id)

    def _finish(self, message_id: str) -> bool:
        """Whether the message was pending until now."""
        entry = self._pending.pop(message_id, None)
        if entry is None:
            return False
        self._bytes -= len(entry.message.body)
        self._changed.notify_all()
        return True

    def claim(self, consumer: str, idle_s: float, limit: int) -> list[Message]:  # noqa: ARG002 - as above
        """Take over messages left pending for at least idle_s, whoever had them, oldest first."""
        with self._changed:
            overdue = self._clock() - idle_s
            idle = [entry.message for entry in self._pending.values() if entry.since_s <= overdue]
            return [self._hand_out(message) for message in idle[:limit]]

    def hold(self, consumer: str, message_ids: Sequence[str]) -> None:  # noqa: ARG002 - as above
        """Say that pending messages are still being worked on, so that nobody claims them for now."""
        with self._changed:
            for message_id in message_ids:
                if message_id in self._pending:
                    self._pending[message_id] = replace(self._pending[message_id], since_s=self._clock())

    def split(self, message: Message, bodies: Sequence[bytes]) -> None:
        """Put bodies, all at once, in the place of a message that is pending."""
        with self._changed:
            if self._finish(message.message_id):
                for body in bodies:
                    self._append(body)

    def dead_letter(self, message: Message, reason: str, bodies: Sequence[bytes] | None = None) -> None:
        """Acknowledge a pending message and set it (or `bodies` instead of it) aside with a reason."""
        with self._changed:
            if not self._finish(message.message_id):
                return
            for body in (message.body,) if bodies is None else bodies:
                self._dead.append(DeadLetter(str(next(self._numbers)), body, reason))
            while len(self._dead) > self._limits.dead_letters:
                self._dead.popleft()
                self._count_dropped("dead_letter")

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """What was set aside, oldest first."""
        with self._changed:
            return list(islice(self._dead, limit))

    def redrive(self, letter_ids: Sequence[str]) -> int:
        """Put dead letters back into the queue, beyond its bounds; returns how many were still there."""
        wanted = set(letter_ids)
        with self._changed:
            found = [letter for letter in self._dead if letter.letter_id in wanted]
            self._dead = deque(letter for letter in self._dead if letter.letter_id not in wanted)
            for letter in found:
                self._append(letter.body)
        return len(found)

    def depth(self) -> int:
        """Messages not yet acknowledged."""
        with self._changed:
            return len(self._ready) + len(self._pending)

    def close(self) -> None:
        """Nothing to release: the queue ends with its process."""

    def _hand_out(self, message: Message) -> Message:
        handed = replace(message, deliveries=message.deliveries + 1)
        self._pending[handed.message_id] = _Held(handed, self._clock())
        return handed


class MemoryFeed:
    """Feed for followers in one process; safe to use from several threads."""

    def __init__(self, entries: int = 1000) -> None:
        self._entries: deque[tuple[int, bytes]] = deque(maxlen=entries)
        self._last = 0
        self._changed = threading.Condition()

    def append(self, body: bytes) -> str:
        """Add a body and return its id."""
        with self._changed:
            self._last += 1
            self._entries.append((self._last, body))
            self._changed.notify_all()
            return str(self._last)

    def after(self, entry_id: str, limit: int, wait_s: float) -> list[tuple[str, bytes]]:
        """Entries behind one, oldest first; empty: from the oldest kept."""
        last = int(entry_id or 0)
        with self._changed:
            self._changed.wait_for(lambda: self._last > last, wait_s)
            newer = ((str(number), body) for number, body in self._entries if number > last)
            return list(islice(newer, limit))

    def close(self) -> None:
        """Nothing to release."""


_feeds: WeakValueDictionary[str, MemoryFeed] = WeakValueDictionary()
_feeds_lock = threading.Lock()


def shared_feed(name: str, entries: int) -> MemoryFeed:
    """The feed of this name, the same for all who ask while anybody has it."""
    with _feeds_lock:
        feed = _feeds.get(name)
        if feed is None:
            feed = _feeds[name] = MemoryFeed(entries)
        return feed
