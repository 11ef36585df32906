"""What streams outlives a full disk, a clock that was set, a store or portal that is away; health tells it."""

import itertools
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from netwarden.capture.meter import MeterSettings
from netwarden.portal.models.champions import Champions
from netwarden.settings import load_settings
from netwarden.sources.connect import open_alert_store
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.streaming.clocks import clock_watch, wall_clock
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_sensor, run_worker
from netwarden.streaming.sensor import Flows, Sensor, Source, live_source, replay_source
from netwarden.streaming.spool import Spool
from netwarden.streaming.worker import Worker
from tests.fixtures.servers import free_port, mongodb_stand_in, wait_until
from tests.portal.conftest import Portal, listening
from tests.streaming.conftest import deploy, expected_alerts, stored_alerts
from tests.streaming.test_sensor import RUNNING, Away, ids, one, outbox
from tests.streaming.test_worker import SETTINGS, send

MB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    if os.geteuid() != 0:
        pytest.skip("mounting a disk of one's own needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk of one's own can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Fill a disk to its last byte; the file that does it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(b"x" * 4096)
    return filler


@contextmanager
def working(worker: Worker) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def component(health, name):
    return health.snapshot()["components"].get(name, {"ok": True, "detail": ""})


def test_while_the_stores_disk_is_full_nothing_is_acknowledged_and_then_all_is_stored(
    small_disk, choose, named_flows, bundle
):
    queue, alerts = MemoryQueue(), EmbeddedAlertStore(small_disk / "alerts.sqlite")
    alerts.count()
    filler = fill(small_disk)
    worker = Worker("w", queue, alerts, MemoryFeed(), choose, SETTINGS)
    with working(worker):
        send(queue, named_flows.slice(0, 500))
        wait_until(lambda: not component(worker.health, "store")["ok"], "notice")
        assert "full" in component(worker.health, "store")["detail"]
        assert queue.depth() == 2
        filler.unlink()
        wait_until(lambda: queue.depth() == 0, "recovery", 5)
        assert worker.health.snapshot()["status"] == "ok"
    assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 500), bundle)
    alerts.close()


def test_while_the_spools_disk_is_full_the_source_waits_and_then_all_flows_come_in_order(small_disk, named_flows):
    queue, sent = Away(), threading.Event()
    queue.away.set()
    with outbox(queue, Spool(small_disk / "spool", 100 * MB)) as box:

        def send_all():
            for number in range(200):
                box.send(one(named_flows, number), 0, RUNNING)
            sent.set()

        sender = threading.Thread(target=send_all)
        sender.start()
        wait_until(lambda: not component(box.health, "spool")["ok"], "the full disk")
        assert "cannot be written: No space left on device" in component(box.health, "spool")["detail"]
        assert not sent.wait(0.2)
        queue.away.clear()
        sender.join(10)
        wait_until(lambda: box.health.snapshot()["status"] == "ok", "recovery", 5)
    assert ids(queue.read("a", 999, 0)) == [f"flow-{number}" for number in range(200)]


def test_a_clock_that_is_set_by_an_hour_now_and_then_changes_no_alert_and_loses_no_flow(deployment, choose):
    settings, steps = deployment.settings, itertools.cycle([0, 1, 1, -1])

    def jumping():
        return wall_clock() + timedelta(hours=next(steps))

    queue = MemoryQueue()
    with closing(open_alert_store(settings)) as alerts:
        worker = Worker("w", queue, alerts, MemoryFeed(), choose, settings.stream, clock=jumping)
        with working(worker):
            sensor = Sensor(replay_source(settings, ReplayPlan("made_up", rate=3000)), queue, settings, jumping)
            assert sensor.run(threading.Event()).flows == 1500
            wait_until(lambda: queue.depth() == 0, "the end of the queue", 10)
        assert worker.health.snapshot()["status"] == "ok"
        assert queue.dead_letters() == []
        assert stored_alerts(alerts) == expected_alerts(deployment.flows, deployment.bundle)


def test_a_clock_counts_as_set_from_a_second_on_in_both_directions():
    now = {"wall": 10**18, "steady": 0}
    was_set = clock_watch(lambda: now["wall"], lambda: now["steady"])
    for wall_s, steady_s, expected in [(5, 5, False), (5.4, 5, False), (3605, 5, True), (-3595, 5, True)]:
        now.update(wall=10**18 + int(wall_s * 1e9), steady=int(steady_s * 1e9))
        assert was_set() is expected


def test_when_the_clock_was_set_a_live_sensor_ends_its_open_flows_and_meters_on(deployment, kernels):
    if os.geteuid() != 0:
        pytest.skip("capturing on an interface needs root")
    stop, was_set, tables = threading.Event(), threading.Event(), list[pa.Table]()
    source = live_source(deployment.settings, "lo", MeterSettings(), lambda: was_set.is_set)

    def meter():
        for table, _ in source.flows(stop):
            was_set.clear()
            tables.append(table.arrow)

    port, thread = free_port(), threading.Thread(target=meter)

    def records():
        return [row for table in tables for row in table.to_pylist() if port in (row["src_port"], row["dst_port"])]

    thread.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for ended, question in ((1, was_set), (2, stop)):
            for _ in range(8):
                sender.sendto(b"one flow", ("127.0.0.1", port))
                time.sleep(0.1)
            question.set()
            wait_until(lambda: len(records()) >= ended, "the flow's end", 10)  # noqa: B023 - called in this turn
    thread.join()
    assert {row["ended_by"] for row in records()} == {"end_of_input"}


def test_while_mongodb_is_away_alerts_wait_and_then_each_is_there_once(choose, named_flows, bundle, tmp_path):
    port, queue = free_port(), MemoryQueue()
    settings = load_settings({"NETWARDEN_HOME": str(tmp_path), "MONGODB_URI": f"mongodb://127.0.0.1:{port}/netwarden"})
    settings = settings.model_copy(update={"store": settings.store.model_copy(update={"timeout_s": 0.5})})
    with closing(open_alert_store(settings)) as alerts:
        worker = Worker("w", queue, alerts, MemoryFeed(), choose, SETTINGS)
        with working(worker):
            with mongodb_stand_in(tmp_path, port=port):
                send(queue, named_flows.slice(0, 500))
                wait_until(lambda: queue.depth() == 0, "the first alerts")
            send(queue, named_flows.slice(400, 600))
            wait_until(lambda: not component(worker.health, "store")["ok"], "notice")
            assert queue.depth() > 0
            with mongodb_stand_in(tmp_path, port=port):
                wait_until(lambda: queue.depth() == 0, "recovery")
                assert worker.health.snapshot()["status"] == "ok"
                assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 1000), bundle)


def test_while_the_portal_is_gone_sensor_and_worker_go_on_and_the_next_portal_has_every_alert(
    flows, bundle, redis_url, tmp_path
):
    deployment = deploy(tmp_path / "home", flows, bundle, REDIS_URL=redis_url)
    settings, stop, portal_gone = deployment.settings, threading.Event(), threading.Event()
    source = half_then(replay_source(settings, ReplayPlan("made_up", rate=0, batch_rows=500)), portal_gone)
    sensor = threading.Thread(target=run_sensor, args=(settings, source, stop))
    worker = threading.Thread(target=run_worker, args=(settings, Champions(settings).choose, stop, "w"))
    sensor.start()
    worker.start()
    try:
        with closing(open_alert_store(settings)) as alerts:
            with listening(settings) as portal:
                wait_until(lambda: portal_tells(portal, "1 sensor and 1 worker are alive"), "both roles", 20)
                wait_until(lambda: alerts.count() > 0, "the first alerts", 10)
            portal_gone.set()
            expected = expected_alerts(deployment.flows, bundle)
            wait_until(lambda: stored_alerts(alerts) == expected, "all alerts, without a portal", 10)
            with listening(settings) as portal:
                wait_until(
                    lambda: portal_tells(portal, "no sensors and 1 worker are alive"), "the end of the replay", 20
                )
                told = portal.client.get("/api/v1/overview").json()
        assert told["waiting"] == len(expected)
        assert (told["watched"][0]["sensor"], told["watched"][0]["flows"]) == ("edge", 1500)
    finally:
        portal_gone.set()
        stop.set()
        sensor.join()
        worker.join()


def half_then(source: Source, event: threading.Event) -> Source:
    """A source that gives its first tables, and the others once the event is set."""

    def flows(stop: threading.Event) -> Flows:
        for number, table in enumerate(source.flows(stop)):
            if number:
                event.wait(60)
            yield table

    return replace(source, flows=flows)


def portal_tells(portal: Portal, of_the_stream: str) -> bool:
    health = portal.client.get("/api/v1/overview").json()["health"]
    return ("Stream", "ok", of_the_stream) in {(part["name"], part["state"], part["detail"]) for part in health}
