"""Sensor and worker as they run: alone, joined by Redis, or both in one process."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from netwarden import telemetry
from netwarden.errors import ConfigError, StoreError
from netwarden.logs import get
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store, open_feed, open_queue
from netwarden.sources.store import Queue
from netwarden.streaming.health import Health, served
from netwarden.streaming.heartbeat import HEARTBEATS, KEPT, beating
from netwarden.streaming.judge import ChooseModel
from netwarden.streaming.learning import Learner
from netwarden.streaming.sampled import ENTRIES, SAMPLES, Sampler
from netwarden.streaming.scored import prediction_logs
from netwarden.streaming.sensor import Sensor, SensorReport, Source, sensor_name
from netwarden.streaming.tracing import Tracing, open_tracing
from netwarden.streaming.worker import Worker

_IDLE_POLL_S = 0.1
_PATIENCE_S = 20.0  # for what is queued when all is to stop
_log = get(__name__)


def run_sensor(settings: Settings, source: Source, stop: threading.Event) -> SensorReport:
    """A sensor until its source ends or `stop` is set. Raises ConfigError without REDIS_URL."""
    _require_redis(settings, "sensor")
    with closing(open_queue(settings)) as queue:
        return _sense(settings, source, queue, stop)


def run_worker(settings: Settings, choose: ChooseModel, stop: threading.Event, name: str = "") -> None:
    """A worker until `stop` is set. Raises ConfigError without REDIS_URL."""
    _require_redis(settings, "worker")
    with closing(open_queue(settings)) as queue:
        _work(settings, choose, queue, stop, name)


def run_together(
    settings: Settings,
    source: Source,
    choose: ChooseModel,
    stop: threading.Event,
    meanwhile: Callable[[], None] | None = None,
) -> SensorReport:
    """Sensor and worker in this process, joined by its own queue, or by Redis where that is set.

    `meanwhile`, such as a portal, runs here until it returns; without it, all ends with the source or at `stop`. The
    worker ends last, once it has finished what was sent: the queue of a process ends with it.
    """
    finished = threading.Event()
    with closing(open_queue(settings)) as queue, _in_thread(finished, _work, settings, choose, queue, finished):
        if meanwhile is None:
            report = _sense(settings, source, queue, stop)
        else:
            reports: list[SensorReport] = []
            with _in_thread(stop, lambda: reports.append(_sense(settings, source, queue, stop))):
                meanwhile()
            report = reports[0] if reports else SensorReport(0, 0)
        _work_off(queue, finished, stop)
        return report


def _work_off(queue: Queue, finished: threading.Event, stop: threading.Event) -> None:
    """Wait until everything is finished; once told to stop, only so long, and not for a server that is away."""
    patience_s = _PATIENCE_S
    while patience_s > 0 and not finished.wait(_IDLE_POLL_S):
        patience_s -= _IDLE_POLL_S if stop.is_set() else 0
        try:
            if not queue.depth():
                return
        except StoreError:
            if stop.is_set():
                return


def _sense(settings: Settings, source: Source, queue: Queue, stop: threading.Event) -> SensorReport:
    stream = settings.stream
    with ExitStack() as opened:
        sensor = Sensor(source, queue, settings, tracing=_tracing(settings, "sensor", opened))
        port = opened.enter_context(served(sensor.health, stream.host, stream.sensor_port))
        opened.enter_context(_heart(settings, sensor.health, sensor_name(stream), port))
        _log.info("sensor", extra={"source": source.badge, "health": f"http://{stream.host}:{port}/health"})
        return sensor.run(stop)


def _work(settings: Settings, choose: ChooseModel, queue: Queue, stop: threading.Event, name: str = "") -> None:
    stream = settings.stream
    name = name or f"{socket.gethostname()}-{os.getpid()}"
    with ExitStack() as opened:
        logs = None
        if stream.prediction_logs:
            logs = opened.enter_context(
                prediction_logs(settings.predictions_dir, stream.prediction_log_mb, stream.prediction_log_files)
            )
        alerts = opened.enter_context(closing(open_alert_store(settings)))
        feed = opened.enter_context(closing(open_feed(settings)))
        tracing = _tracing(settings, "worker", opened)
        worker = Worker(name, queue, alerts, feed, choose, stream, logs, tracing=tracing)
        sampler = Sampler(opened.enter_context(closing(open_feed(settings, SAMPLES, ENTRIES))))
        worker.watchers.append(sampler.watch)
        if stream.learn:
            learner = Learner(settings, choose, worker.health, name)
            worker.watchers.append(learner.watch)
            opened.enter_context(_in_thread(stop, learner.run, stop, failed=learner.failed))
        port = opened.enter_context(served(worker.health, stream.host, stream.worker_port, lambda: _show_depth(queue)))
        opened.enter_context(_heart(settings, worker.health, name, port))
        _log.info("worker", extra={"worker": name, "health": f"http://{stream.host}:{port}/health"})
        worker.run(stop)


@contextmanager
def _heart(settings: Settings, health: Health, name: str, port: int) -> Iterator[None]:
    with closing(open_feed(settings, HEARTBEATS, KEPT)) as feed, beating(feed, health, name, port):
        yield


def _tracing(settings: Settings, role: str, opened: ExitStack) -> Tracing | None:
    return opened.enter_context(closing(open_tracing(role))) if settings.stream.trace else None


def _show_depth(queue: Queue) -> None:
    try:
        telemetry.QUEUE_DEPTH.set(queue.depth())
    except StoreError:
        telemetry.QUEUE_DEPTH.set(float("nan"))  # unknown, which is not zero


@contextmanager
def _in_thread(
    stop: threading.Event,
    work: Callable[..., Any],
    *arguments: Any,
    failed: Callable[[BaseException], None] | None = None,
) -> Iterator[None]:
    """Runs work beside the block; `failed` hears of an error, which else stops everything and is raised after it."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work(*arguments)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits for it, or told
            if failed is not None:
                failed(error)
                return
            errors.append(error)
            stop.set()

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def _require_redis(settings: Settings, role: str) -> None:
    if settings.redis_url is None:
        raise ConfigError(
            f"a {role} of its own needs REDIS_URL, so that others find its queue; "
            "`netwarden up` runs all roles in one process without it"
        )
