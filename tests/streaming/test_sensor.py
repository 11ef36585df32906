"""What a sensor sends, and what it does with it while it cannot."""

import threading
import time
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa
import pytest

from netwarden.errors import InputError, NotFoundError, StoreError
from netwarden.flows.table import FlowTable
from netwarden.sources.memory_queue import MemoryQueue
from netwarden.sources.store import QueueLimits
from netwarden.streaming.batch import unpack
from netwarden.streaming.health import Health
from netwarden.streaming.outbox import Outbox
from netwarden.streaming.replay import ReplayPlan, replayed, rows_to_replay
from netwarden.streaming.sensor import Sensor, replay_source, with_interim_marks
from netwarden.streaming.spool import Spool
from tests.fixtures.servers import wait_until
from tests.streaming.conftest import batch_of

MB = 1 << 20


# --- the spool ------------------------------------------------------------------------------------------------


def test_a_spool_gives_back_in_order_also_after_its_process_ended(tmp_path):
    spool = Spool(tmp_path, MB)
    for number in range(12):
        assert spool.append(b"%d" % number, flows=number)
    assert spool.remove_first().flows == 0
    (tmp_path / "000000000099-1.part").write_bytes(b"cut short")
    again = Spool(tmp_path, MB)
    again.append(b"12", flows=12)
    assert [taken(again) for _ in range(12)] == [b"%d" % number for number in range(1, 13)]
    assert (again.oldest(), again.bytes, list(tmp_path.iterdir())) == ([], 0, [])


def taken(spool):
    ((_, body),) = spool.oldest()
    spool.remove_first()
    return body


def test_a_spool_gives_several_small_bodies_at_once_but_no_more_flows_than_asked_for(tmp_path):
    spool = Spool(tmp_path, MB)
    for flows in (4, 3, 2, 1):
        spool.append(b"%d" % flows, flows)
    assert [body for _, body in spool.oldest(9)] == [b"4", b"3", b"2"]
    assert [body for _, body in spool.oldest(2)] == [b"4"]


def test_small_bodies_on_disk_become_one_in_their_place_and_a_join_cut_short_loses_none(tmp_path):
    spool = Spool(tmp_path, MB)
    for number in range(7):
        spool.append(b"%d" % number, flows=2)
    spool.remove_first()
    assert (spool.small(4), spool.small(99)) == ([b"1", b"2"], [])
    assert spool.join(2, b"1+2")
    assert spool.small(4) == [b"3", b"4"]
    assert spool.join(1, b"3")  # the next is of another kind
    assert spool.small(4) == [b"4", b"5"]
    assert spool.join(2, b"4+5")
    assert (spool.small(4), spool.bytes) == ([], len(b"1+234+56"))
    again = Spool(tmp_path, MB)
    assert [(taken(again), again.bytes) for _ in range(4)] == [(b"1+2", 5), (b"3", 4), (b"4+5", 1), (b"6", 0)]


def test_a_spool_refuses_what_exceeds_its_bound_or_a_disk_that_fails(tmp_path):
    spool = Spool(tmp_path / "spool", 10)
    assert spool.append(b"x" * 10, 1)
    assert not spool.append(b"y", 1)
    spool.remove_first()
    (tmp_path / "spool").rmdir()
    assert not spool.append(b"y", 1)


# --- the outbox -----------------------------------------------------------------------------------------------


class Away:
    """A queue that can be away; the rest of it is real."""

    def __init__(self, **limits: Any) -> None:
        self.away = threading.Event()
        self.inner = MemoryQueue(QueueLimits(publish_timeout_s=0.01, **limits))

    def publish(self, body: bytes) -> str:
        if self.away.is_set():
            raise StoreError("no answer; is it running?")
        return self.inner.publish(body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@contextmanager
def outbox(queue, spool, **options: Any):
    health = Health("sensor")
    box = Outbox(queue, spool, health, "edge", badge=options.pop("badge", "replay"), **options)
    box.start()
    box.health = health  # type: ignore[attr-defined]  # for the tests to look at
    yield box
    box.close(5)


def ids(messages):
    return [name for message in messages for name in unpack(message.body).flows.arrow["flow_id"].to_pylist()]


def one(flows, number):
    return batch_of(flows.slice(number, 1))


RUNNING = threading.Event()  # never set


def test_while_the_queue_is_away_flows_wait_on_disk_and_then_come_in_order(named_flows, tmp_path):
    queue, marks = Away(), list[int]()
    with outbox(queue, Spool(tmp_path, MB), sent=marks.append) as box:
        box.send(one(named_flows, 0), 1, RUNNING)
        wait_until(lambda: queue.depth() == 1, "the first")
        queue.away.set()
        for number in range(1, 30):
            box.send(one(named_flows, number), number + 1, RUNNING)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 29, "spooling")
        assert box.health.snapshot()["status"] == "degraded"
        assert marks == list(range(1, 31))
        queue.away.clear()
        wait_until(lambda: not list(tmp_path.iterdir()), "recovery", 5)
        assert queue.depth() < 30  # small batches are joined
    assert ids(queue.read("a", 99, 0)) == [f"flow-{number}" for number in range(30)]
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_sensor_left_on_disk_is_sent_before_anything_newer(named_flows, tmp_path):
    queue = Away()
    queue.away.set()
    with outbox(queue, Spool(tmp_path, MB)) as box:
        for number in range(3):
            box.send(one(named_flows, number), 0, RUNNING)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3, "spooling")
        box._stop.set()
    queue.away.clear()
    with outbox(queue, Spool(tmp_path, MB)) as box:
        box.send(one(named_flows, 3), 0, RUNNING)
    assert ids(queue.read("a", 99, 0)) == [f"flow-{number}" for number in range(4)]


def test_a_full_queue_makes_the_source_wait_and_nothing_is_written_to_disk(named_flows, tmp_path):
    queue, done = Away(messages=4), threading.Event()
    with outbox(queue, Spool(tmp_path, MB)) as box:

        def send_all():
            for number in range(40):
                box.send(one(named_flows, number), 0, RUNNING)
            done.set()

        sender = threading.Thread(target=send_all)
        sender.start()
        assert not done.wait(0.3)
        assert list(tmp_path.iterdir()) == []
        got: list[str] = []
        while len(got) < 40:
            messages = queue.read("a", 10, 1)
            queue.acknowledge([message.message_id for message in messages])
            got += ids(messages)
        sender.join()
    assert got == [f"flow-{number}" for number in range(40)]


def test_live_flows_go_to_disk_when_the_queue_is_full(named_flows, tmp_path):
    queue = Away(messages=4)
    with outbox(queue, Spool(tmp_path, MB), badge="live") as box:
        for number in range(40):
            box.send(one(named_flows, number), 0, RUNNING)
        got: list[str] = []
        while len(got) < 40:
            messages = queue.read("a", 10, 1)
            queue.acknowledge([message.message_id for message in messages])
            got += ids(messages)
    assert got == [f"flow-{number}" for number in range(40)]


def test_a_full_spool_drops_the_oldest_and_counts_the_flows_where_that_is_wanted(named_flows, tmp_path):
    from netwarden import telemetry  # noqa: PLC0415 - of this test alone

    lost = telemetry.STREAM_LOST.labels("spool_full")
    queue, before = Away(), lost._value.get()
    queue.away.set()
    with outbox(queue, Spool(tmp_path, 60_000), when_full="drop_oldest") as box:
        for number in range(60):
            box.send(one(named_flows, number), 0, RUNNING)
        wait_until(lambda: lost._value.get() > before, "the bound")
        queue.away.clear()
        wait_until(lambda: not list(tmp_path.glob("*.batch")), "recovery", 5)
    got = ids(queue.read("a", 99, 0))
    assert got == [f"flow-{number}" for number in range(60 - len(got), 60)]
    assert lost._value.get() - before == 60 - len(got)


def test_flows_that_end_with_the_sensor_are_kept_too(named_flows, tmp_path):
    queue, stop = Away(), threading.Event()
    queue.away.set()
    stop.set()
    with outbox(queue, Spool(tmp_path, MB), badge="live") as box:
        for number in range(20):
            box.send(one(named_flows, number), 0, stop)
        box._stop.set()
    assert len(list(tmp_path.iterdir())) == 20


# --- replay -----------------------------------------------------------------------------------------------------


def test_a_replay_gives_the_test_rows_alone_in_the_order_of_their_file(deployment):
    rows = rows_to_replay(deployment.settings, "made_up", shuffled=False)
    got = list(replayed(rows, ReplayPlan("made_up", rate=0), "edge", RUNNING))
    assert [end for _, end in got] == [len(rows)]
    assert got[0][0].arrow["flow_id"].to_pylist() == deployment.flows.arrow["flow_id"].to_pylist()
    assert "split" not in got[0][0].names
    assert "label" in got[0][0].names


def test_a_shuffled_replay_has_the_same_order_every_time(deployment):
    first, second = (rows_to_replay(deployment.settings, "made_up", shuffled=True).arrow for _ in range(2))
    assert first.equals(second)
    lines = first["source_line"].to_pylist()
    assert sorted(lines) != lines


def test_a_replay_in_a_loop_gives_new_flows_in_each_pass(deployment):
    rows = rows_to_replay(deployment.settings, "made_up", shuffled=False).slice(0, 30)
    plan = ReplayPlan("made_up", rate=0, loop=True, batch_rows=20)
    tables = list(islice(replayed(rows, plan, "edge", RUNNING), 4))
    assert [len(table) for table, _ in tables] == [20, 10, 20, 10]
    names = [name for table, _ in tables for name in table.arrow["flow_id"].to_pylist()]
    assert len(set(names)) == 60


def test_a_replay_keeps_its_rate(deployment):
    rows = rows_to_replay(deployment.settings, "made_up", shuffled=False).slice(0, 100)
    began = time.monotonic()
    assert sum(len(table) for table, _ in replayed(rows, ReplayPlan("made_up", 200), "edge", RUNNING)) == 100
    assert 0.45 < time.monotonic() - began < 1.5


def test_a_replay_that_was_stopped_goes_on_where_it_had_got_to(deployment):
    settings = deployment.with_stream(batch_rows=100, queue_messages=10_000)
    queue = MemoryQueue(QueueLimits(messages=10_000))
    plan = ReplayPlan("made_up", rate=5000, batch_rows=100)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    first = Sensor(replay_source(settings, plan), queue, settings).run(stop)
    assert 0 < first.flows < 1500
    second = Sensor(replay_source(settings, plan), queue, settings).run(threading.Event())
    assert first.flows + second.flows == 1500
    assert ids(queue.read("a", 9999, 0)) == deployment.flows.arrow["flow_id"].to_pylist()
    third = Sensor(replay_source(settings, ReplayPlan("made_up", rate=0)), queue, settings).run(threading.Event())
    assert third.flows == 1500


def test_a_dataset_without_test_rows_or_that_is_not_there_is_refused(deployment, flows):
    from netwarden.sources.connect import open_flow_store  # noqa: PLC0415 - of this test alone
    from tests.stores.rows import flow_rows  # noqa: PLC0415

    store = open_flow_store(deployment.settings)
    store.insert("training", "nsl_kdd", flow_rows(range(3)))
    store.close()
    with pytest.raises(InputError, match="'training' has no split 'test' to replay, only train; detectors were"):
        rows_to_replay(deployment.settings, "training", shuffled=False)
    with pytest.raises(NotFoundError, match="nowhere"):
        rows_to_replay(deployment.settings, "nowhere", shuffled=False)


# --- interim records ------------------------------------------------------------------------------------------


def test_a_final_record_says_whether_the_flow_was_reported_before():
    def table(*rows):
        names, ends = zip(*rows, strict=True)
        return FlowTable(pa.table({"flow_id": names, "ended_by": ends}), "netwarden_flow")

    tables = [
        table(("a", "interim"), ("b", "closed")),
        table(("a", "interim"), ("c", "interim")),
        table(("a", "closed"), ("d", "closed")),
        table(("c", "idle_timeout"), ("a", "closed")),
    ]
    marks = [marked.arrow["had_interim"].to_pylist() for marked in with_interim_marks(iter(tables))]
    assert marks == [[False, False], [False, False], [True, False], [True, False]]
