"""What a sensor has to send: straight to the queue while that takes it, by way of the disk while it is away."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from netwarden import telemetry
from netwarden.errors import InputError, QueueFullError, StoreError
from netwarden.logs import get
from netwarden.sources.store import Queue
from netwarden.streaming.backoff import Backoff
from netwarden.streaming.batch import Badge, StreamBatch, joined, pack, unpack
from netwarden.streaming.health import Health
from netwarden.streaming.spool import Spool, Spooled

_IN_MEMORY = 16  # bodies
_POLL_S = 0.1
_JOINS_AT_ONCE = 8  # then it is time to ask for the queue again

Sent = Callable[[int], None]
_log = get(__name__)


class Outbox:
    """Sends batches in order from a thread of its own.

    While the queue is full, `send` waits; a live source cannot, so it spools. While the queue is away everybody
    spools. With the spool full, `send` waits, or drops what has been spooled longest and counts it. `sent` is called
    with the mark of a batch once that is in the queue or on disk.
    """

    def __init__(
        self,
        queue: Queue,
        spool: Spool,
        health: Health,
        sensor: str,
        *,
        badge: Badge,
        batch_rows: int = 2048,
        when_full: Literal["wait", "drop_oldest"] = "wait",
        sent: Sent = lambda _: None,
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._health = health
        self._sensor = sensor
        self._badge = badge
        self._batch_rows = batch_rows
        self._when_full = when_full
        self._sent = sent
        self._memory: deque[tuple[bytes, int, int]] = deque()  # newer than all that is spooled
        self._changed = threading.Condition()
        self._spooling = len(spool) > 0
        self._stop = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._show_spool()

    def start(self) -> None:
        self._thread.start()

    def send(self, batch: StreamBatch, mark: int, stop: threading.Event) -> None:
        """Take a batch; it is on its way or on disk. Waits where neither is possible, until `stop`.

        What comes after `stop`, the last flows of live traffic, is kept until `close`.
        """
        body, flows = pack(batch), len(batch)
        with self._changed:
            while True:
                if stop.is_set() or (not self._spooling and len(self._memory) < _IN_MEMORY):
                    self._memory.append((body, flows, mark))
                    break
                if self._spooling and self._to_disk(body, flows):
                    self._sent(mark)
                    break
                self._changed.wait(_POLL_S)
            self._changed.notify_all()

    def close(self, patience_s: float) -> int:
        """Send what is left for so long, then put it on disk; what has no room there is lost and counted.

        Returns the batches that wait on disk.
        """
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(patience_s)
        self._stop.set()
        self._thread.join()
        with self._changed:
            self._spill()
            telemetry.STREAM_LOST.labels("spool_full").inc(sum(flows for _, flows, _ in self._memory))
        return len(self._spool)

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            try:
                if not self._send_oldest():
                    return
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - the sender's loop: whatever it was, the body is still there
                if not isinstance(error, StoreError):
                    _log.exception("sending failed", extra={"sensor": self._sensor})
                self._health.report("queue", str(error))
                telemetry.STREAM_RETRIES.labels("queue").inc()
                self._start_spooling()
                self._join_spooled()
                backoff.wait(self._stop)

    def _send_oldest(self) -> bool:
        """Send the oldest body, if there is one; False where there is none and none will come."""
        with self._changed:
            spooled = self._spool.oldest(self._batch_rows)
            if not spooled and not self._memory:
                self._changed.wait(_POLL_S)
                return bool(self._memory) or not self._closing.is_set()
            bodies = [body for _, body in spooled] or [self._memory[0][0]]
        body, count = _joined(bodies)
        try:
            self._queue.publish(body)
        except QueueFullError:
            full = True
            if self._badge == "live":
                self._start_spooling()
        else:
            full = False
            self._done([one for one, _ in spooled[:count]])
        self._health.report("queue")
        self._health.note(queue_full=full)
        return True

    def _done(self, spooled: list[Spooled]) -> None:
        with self._changed:
            flows = sum(one.flows for one in spooled)
            for one in spooled:
                if self._spool.holds_first(one):  # it may have been dropped meanwhile
                    self._spool.remove_first()
            if not spooled:
                _, flows, mark = self._memory.popleft()
                self._sent(mark)
            telemetry.STREAM_FLOWS.labels("sensor", self._badge).inc(flows)
            self._spooling = len(self._spool) > 0
            self._show_spool()
            self._changed.notify_all()

    def _start_spooling(self) -> None:
        with self._changed:
            self._spooling = True
            self._spill()
            self._changed.notify_all()

    def _join_spooled(self) -> None:
        """Make a few of the small bodies on disk one, so that they are soon sent once the queue is back."""
        for _ in range(_JOINS_AT_ONCE):
            with self._changed:
                small = self._spool.small(self._batch_rows)
                if not small:
                    return
                body, count = _joined(small)
                if not self._spool.join(count, body):
                    return

    def _spill(self) -> None:
        """Move what is in memory to disk, in order, as far as there is room."""
        while self._memory and self._spooled(self._memory[0][0], self._memory[0][1]):
            self._sent(self._memory.popleft()[2])
        self._show_spool()

    def _to_disk(self, body: bytes, flows: int) -> bool:
        """Whether a body could be spooled behind all that came before it, some of which the thread may yet spill."""
        done = not self._memory and self._spooled(body, flows)
        self._show_spool()
        return done

    def _spooled(self, body: bytes, flows: int) -> bool:
        while not self._spool.append(body, flows):
            if self._when_full == "wait" or not len(self._spool):
                return False
            lost = self._spool.remove_first()
            telemetry.STREAM_LOST.labels("spool_full").inc(lost.flows)
        return True

    def _show_spool(self) -> None:
        telemetry.SPOOL_BYTES.labels(self._sensor).set(self._spool.bytes)
        self._health.report("spool", self._spool.fault)
        self._health.note(spooled_batches=len(self._spool), spooled_bytes=self._spool.bytes)


def _joined(bodies: list[bytes]) -> tuple[bytes, int]:
    """One body of the first few, and of how many: those of one kind, or the first alone where it cannot be read."""
    batches: list[StreamBatch] = []
    with suppress(InputError):
        for body in bodies if len(bodies) > 1 else ():
            batch = unpack(body)
            if batches and batch.kind != batches[0].kind:
                break
            batches.append(batch)
    return (pack(joined(batches)), len(batches)) if len(batches) > 1 else (bodies[0], 1)
