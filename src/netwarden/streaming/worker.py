"""The worker: reads batches, scores them, stores their alerts and then, only then, acknowledges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TypeVar

from netwarden import telemetry
from netwarden.errors import BundleError, InputError, StoreError
from netwarden.logs import get
from netwarden.sections import StreamSettings
from netwarden.sources.store import AlertStore, Feed, Message, Queue
from netwarden.streaming.backoff import Backoff
from netwarden.streaming.batch import pack, unpack
from netwarden.streaming.clocks import Clock, wall_clock
from netwarden.streaming.health import Health
from netwarden.streaming.judge import Bad, ChooseModel, Delivery, Judged, judge_all
from netwarden.streaming.scored import PredictionLogs, scored_batch, write_scored
from netwarden.streaming.tracing import Tracing

_WAIT_S = 0.5  # for the next message, before it is asked again whether to stop
_MOST_MESSAGES = 128  # of one round
_ALERTS_AT_ONCE = 1000
_T = TypeVar("_T")
_log = get(__name__)


class Worker:
    """Scores what a queue holds, until told to stop. Any number of them may share a queue.

    Whatever is delivered again, and whichever worker dies when, each flow gives one alert at most: alerts have the ids
    of their flows, and nothing is acknowledged before its alerts are stored. `name` tells workers apart.
    """

    def __init__(  # noqa: PLR0913 - what may be left out comes by name
        self,
        name: str,
        queue: Queue,
        alerts: AlertStore,
        feed: Feed,
        choose: ChooseModel,
        settings: StreamSettings,
        logs: PredictionLogs | None = None,
        *,
        clock: Clock = wall_clock,
        tracing: Tracing | None = None,
    ) -> None:
        self._tracing = tracing
        self._clock = clock
        self.health = Health("worker")
        self.watchers: list[Callable[[Judged], None]] = []  # told of all that was judged, once its alerts are stored
        self._name = name
        self._queue = queue
        self._alerts = alerts
        self._feed = feed
        self._choose = choose
        self._settings = settings
        self._logs = logs
        self._rows_per_message = float(settings.batch_rows)  # until it is known better
        self._claimed_at_s = -settings.claim_after_s
        self._at_hand: list[str] = []  # ids of messages taken and not finished, in their order
        self._held_at_s = 0.0
        self._flows = 0

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; what is at hand then is finished, or stays pending for others."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                self.work_once(stop)
            except _StoppedError:
                return
            except Exception as error:  # noqa: BLE001 - the consumer's loop: whatever it was, the next round comes
                # The messages stay pending; one that fails again and again is halved until its bad row is alone.
                _log.exception("round failed", extra={"worker": self._name})
                self.health.report("round", f"{type(error).__name__}: {error}")
                backoff.wait(stop)
            else:
                self.health.report("round")
                backoff.reset()

    def work_once(self, stop: threading.Event, wait_s: float = _WAIT_S) -> int:
        """Take what there is, a round's worth or so, and finish it; returns the flows scored."""
        messages = self._until("queue", lambda: self._take(wait_s), stop)
        self._held_at_s = time.monotonic()
        self._at_hand = [message.message_id for message in messages]
        return sum(self._finish(portion, stop) for portion in self._portions(messages, stop))

    def _finish(self, deliveries: Sequence[Delivery], stop: threading.Event) -> int:
        self._hold_if_slow()
        outcome = self._until("detector", lambda: judge_all(deliveries, self._choose, self._clock()), stop)
        for judged in outcome.judged:
            with nullcontext() if self._tracing is None else self._tracing.storing(judged):
                self._store(judged, stop)
        for judged in outcome.judged:
            self._show(judged)
            for watch in self.watchers:
                watch(judged)
        for bad in outcome.bad:
            self._set_aside(bad, stop)
        aside = {bad.message.message_id for bad in outcome.bad}
        ids = [one.message.message_id for one in deliveries]
        done = [message_id for message_id in ids if message_id not in aside]
        self._until("queue", lambda: self._queue.acknowledge(done), stop)
        self._at_hand = self._at_hand[len(ids) :]
        return self._count(deliveries, outcome.judged)

    # --- taking -------------------------------------------------------------------------------------------------

    def _take(self, wait_s: float) -> list[Message]:
        """Messages of workers that went silent, looked for now and then, else the next ones.

        A read gives what is there at once, so rounds are small while it is quiet and grow with the load.
        """
        limit = max(1, min(_MOST_MESSAGES, int(self._settings.worker_rows / self._rows_per_message)))
        now_s = time.monotonic()
        if now_s - self._claimed_at_s >= self._settings.claim_after_s / 2:
            self._claimed_at_s = now_s
            claimed = self._queue.claim(self._name, self._settings.claim_after_s, limit)
            if claimed:
                self._claimed_at_s = 0.0  # there may be more
                return claimed
        return self._queue.read(self._name, limit, wait_s)

    def _portions(self, messages: Sequence[Message], stop: threading.Event) -> Iterator[list[Delivery]]:
        """What the messages hold, in portions that are scored at once; never all of a burst of large ones."""
        portion: list[Delivery] = []
        rows = 0
        for message in messages:
            found = self._opened(message, stop)
            if found is None:
                self._at_hand.remove(message.message_id)
                continue
            portion.append(found)
            rows += len(found.batch)
            if rows >= self._settings.worker_rows:
                yield portion
                portion, rows = [], 0
        if portion:
            yield portion

    def _opened(self, message: Message, stop: threading.Event) -> Delivery | None:
        """The batch of a message; None where it was set aside, or halved for having been handed out too often."""
        try:
            batch = unpack(message.body)
        except InputError as error:
            self._set_aside(Bad(message, str(error)), stop)
            return None
        if message.deliveries <= self._settings.max_deliveries:
            self._rows_per_message += (max(1, len(batch)) - self._rows_per_message) / 8
            return Delivery(message, batch)
        if len(batch) > 1:
            half = len(batch) // 2
            halves = [pack(batch.part(0, half)), pack(batch.part(half, len(batch) - half))]
            self._until("queue", lambda: self._queue.split(message, halves), stop)
        else:
            reason = f"handed out {message.deliveries} times and never finished; does it end its worker?"
            self._set_aside(Bad(message, reason), stop)
        return None

    # --- finishing ----------------------------------------------------------------------------------------------

    def _store(self, judged: Judged, stop: threading.Event) -> None:
        for start in range(0, len(judged.alerts), _ALERTS_AT_ONCE):
            add = partial(self._alerts.add, judged.alerts[start : start + _ALERTS_AT_ONCE])
            telemetry.STREAM_ALERTS.inc(self._until("store", add, stop))
            self._hold_if_slow()
        if judged.withdrawn:
            self._until("store", lambda: self._alerts.withdraw(judged.withdrawn, self._clock()), stop)

    def _show(self, judged: Judged) -> None:
        """Tell those who follow. What they miss while the feed is away is counted; alerts never wait for it."""
        scored = scored_batch(judged, self._clock())
        try:
            for piece in scored.pieces(self._settings.batch_rows):
                self._feed.append(write_scored(piece))
        except StoreError as error:
            telemetry.STREAM_LOST.labels("feed").inc(len(scored))
            _log.warning("followers miss flows", extra={"flows": len(scored), "error": str(error)})
        if self._logs is None:
            return
        try:
            self._logs.write(scored)
        except OSError as error:
            telemetry.STREAM_LOST.labels("prediction_log").inc(len(scored))
            self.health.report("prediction_logs", str(error))
        else:
            self.health.report("prediction_logs")

    def _set_aside(self, bad: Bad, stop: threading.Event) -> None:
        bodies = [pack(row) for row in bad.rows] if bad.rows is not None else None
        message = bad.message
        self._until("queue", lambda: self._queue.dead_letter(message, bad.reason, bodies), stop)
        telemetry.STREAM_DEAD_LETTERS.inc(1 if bodies is None else len(bodies))
        _log.error("set aside", extra={"message_id": message.message_id, "reason": bad.reason})

    def _count(self, deliveries: Sequence[Delivery], judged: Sequence[Judged]) -> int:
        now = self._clock()
        for delivery in deliveries:
            waited_s = (now - delivery.batch.sent_at).total_seconds()
            telemetry.STREAM_SECONDS.observe(max(0.0, waited_s))  # below zero: another machine's clock
        rows = 0
        for one in judged:
            telemetry.STREAM_FLOWS.labels("worker", one.batch.source).inc(len(one.batch))
            rows += len(one.batch)
        telemetry.STREAM_ROUND_FLOWS.observe(rows)
        self._flows += rows
        bundles = sorted({one.bundle_id for one in judged})
        self.health.note(flows=self._flows, bundles=bundles, last_round_at=now.isoformat())
        return rows

    # --- waiting ------------------------------------------------------------------------------------------------

    def _until(self, component: str, action: Callable[[], _T], stop: threading.Event) -> _T:
        """What an action gives once its component answers; the messages at hand are held meanwhile.

        Raises _StoppedError where it is time to stop before that: the messages stay pending.
        """
        backoff = Backoff()
        while True:
            try:
                done = action()
            except (StoreError, BundleError) as error:
                self.health.report(component, str(error))
                telemetry.STREAM_RETRIES.labels(component).inc()
                self._hold_if_slow()
                if backoff.wait(stop):
                    raise _StoppedError from None
            else:
                self.health.report(component)
                return done

    def _hold_if_slow(self) -> None:
        """So that no other worker takes the messages at hand for those of a dead one."""
        now_s = time.monotonic()
        if self._at_hand and now_s - self._held_at_s > self._settings.claim_after_s / 3:
            self._held_at_s = now_s
            with suppress(StoreError):  # then others may claim them, which costs work and nothing else
                self._queue.hold(self._name, self._at_hand)


class _StoppedError(Exception):
    """It is time to stop, and what was at hand cannot be finished."""
