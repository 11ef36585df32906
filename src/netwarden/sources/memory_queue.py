"""The queue of a single process: bounded, at least once, with pending and dead letters as a broker has them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from netwarden.errors import StoreError
from netwarden.sources.store import Message


@dataclass(frozen=True)
class _Pending:
    message: Message
    since_s: float


class MemoryQueue:
    """Queue for producers and consumers in one process; safe to use from several threads.

    `capacity` bounds the messages not yet handed out. When full, `publish` waits up to `publish_timeout_s` or drops the
    oldest and counts it in `dropped`. It bounds the dead letters too: beyond it the oldest is dropped and counted.
    """

    def __init__(
        self,
        capacity: int = 10_000,
        when_full: Literal["wait", "drop_oldest"] = "wait",
        publish_timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dropped = 0
        self._capacity = capacity
        self._when_full = when_full
        self._publish_timeout_s = publish_timeout_s
        self._clock = clock
        self._published = 0
        self._ready: deque[Message] = deque()
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._dead: deque[tuple[Message, str]] = deque()
        self._changed = threading.Condition()

    @property
    def dropped(self) -> int:
        """Messages lost to the bound."""
        return self._dropped

    def publish(self, body: bytes) -> str:
        """Append a body and return its id. Raises StoreError where the queue stays full for too long."""
        with self._changed:
            self._make_room()
            self._published += 1
            message = Message(str(self._published), body, deliveries=0)
            self._ready.append(message)
            self._changed.notify_all()
            return message.message_id

    def _make_room(self) -> None:
        if self._when_full == "drop_oldest":
            while len(self._ready) >= self._capacity:
                self._ready.popleft()
                self._dropped += 1
        elif not self._changed.wait_for(lambda: len(self._ready) < self._capacity, self._publish_timeout_s):
            raise StoreError(
                f"the queue has been full ({self._capacity} messages) for {self._publish_timeout_s:g} s; "
                "is a worker reading it?"
            )

    def read(self, consumer: str, limit: int, wait_s: float) -> list[Message]:  # noqa: ARG002 - all are one process
        """Next messages for a consumer; they stay pending until acknowledged."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._ready), wait_s)
            taken = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._changed.notify_all()
            return [self._hand_out(message) for message in taken]

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Forget messages that are done; unknown ids are ignored, since a message may be done twice."""
        with self._changed:
            for message_id in message_ids:
                self._pending.pop(message_id, None)

    def claim(self, consumer: str, idle_s: float, limit: int) -> list[Message]:  # noqa: ARG002 - as above
        """Take over messages left pending for at least idle_s, whoever had them, oldest first."""
        with self._changed:
            overdue = self._clock() - idle_s
            idle = [entry.message for entry in self._pending.values() if entry.since_s <= overdue]
            return [self._hand_out(message) for message in idle[:limit]]

    def dead_letter(self, message: Message, reason: str) -> None:
        """Move a message that cannot be processed aside, with its reason, and acknowledge it."""
        with self._changed:
            self._dead.append((message, reason))
            if len(self._dead) > self._capacity:
                self._dead.popleft()
                self._dropped += 1
            self._pending.pop(message.message_id, None)

    def dead_letters(self, limit: int = 100) -> list[tuple[Message, str]]:
        """Messages moved aside and why, oldest first."""
        with self._changed:
            return list(islice(self._dead, limit))

    def depth(self) -> int:
        """Messages not yet acknowledged."""
        with self._changed:
            return len(self._ready) + len(self._pending)

    def close(self) -> None:
        """Nothing to release: the queue ends with its process."""

    def _hand_out(self, message: Message) -> Message:
        handed = replace(message, deliveries=message.deliveries + 1)
        self._pending[handed.message_id] = _Pending(handed, self._clock())
        return handed
