"""What a worker makes of what it is sent, whatever goes wrong."""

import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from netwarden.errors import BundleError, InputError
from netwarden.flows.table import FlowTable, MeterStamp, alert_id
from netwarden.sections import StreamSettings
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.sources.store import AlertStore, Feed, Queue
from netwarden.streaming.batch import pack, unpack
from netwarden.streaming.judge import ChooseModel
from netwarden.streaming.scored import prediction_logs, read_scored
from netwarden.streaming.worker import Worker
from tests.fixtures.bundles import train_bundle
from tests.fixtures.servers import wait_until
from tests.streaming.conftest import NOON, batch_of, expected_alerts, in_charge, stored_alerts

SETTINGS = StreamSettings(batch_rows=100, claim_after_s=0.05, worker_rows=1000, max_deliveries=2)
RUNNING = threading.Event()  # never set


def worker_of(queue: Queue, alerts: AlertStore, choose: ChooseModel, feed: Feed | None = None) -> Worker:
    return Worker("w", queue, alerts, feed or MemoryFeed(), choose, SETTINGS)


def send(queue: Queue, table: FlowTable, rows: int = 250) -> None:
    for start in range(0, len(table), rows):
        queue.publish(pack(batch_of(table.slice(start, rows))))


def work_off(worker: Worker, queue: Queue, rounds: int = 200) -> None:
    for _ in range(rounds):
        if queue.depth() == 0:
            return
        worker.work_once(RUNNING, wait_s=0.01)
    pytest.fail(f"{queue.depth()} messages are left after {rounds} rounds")


def test_the_store_holds_exactly_what_the_scorer_says_of_the_flows(queue, alerts, choose, named_flows, bundle):
    send(queue, named_flows)
    work_off(worker_of(queue, alerts, choose), queue)
    assert stored_alerts(alerts) == expected_alerts(named_flows, bundle)


def test_an_alert_says_where_it_is_from_and_holds_its_flow(queue, alerts, choose, named_flows, bundle):
    send(queue, named_flows.slice(0, 50))
    work_off(worker_of(queue, alerts, choose), queue)
    alert = alerts.find().alerts[0]
    row = named_flows.arrow.filter(pa.compute.equal(named_flows.arrow["flow_id"], alert.flow_id)).to_pylist()[0]
    assert (alert.origin, alert.sensor, alert.bundle_id) == ("replay", "test", bundle.bundle_id)
    assert (alert.truth, alert.features["src_bytes"]) == (row["label"], row["src_bytes"])
    assert not {"flow_id", "label", "family"} & set(alert.features)


def test_a_label_that_comes_with_a_flow_never_reaches_the_scorer(
    queue, alerts, choose, named_flows, bundle, monkeypatch
):
    scorer, seen = choose("nsl_kdd").scorer, list[str]()
    score = scorer.score

    def watched(table: FlowTable, **options: Any) -> Any:
        seen.extend(table.names)
        return score(table, **options)

    monkeypatch.setattr(scorer, "score", watched)
    assert "label" in named_flows.names
    send(queue, named_flows.slice(0, 500))
    work_off(worker_of(queue, alerts, choose), queue)
    assert set(bundle.preprocessor.names) <= set(seen)
    assert "label" not in seen


def test_what_is_delivered_twice_alerts_once_even_by_another_bundle(
    queue, alerts, choose, named_flows, bundle, nsl_schema, tmp_path
):
    first, second = worker_of(queue, alerts, choose), worker_of(queue, alerts, other_choice(nsl_schema, tmp_path))
    send(queue, named_flows.slice(0, 500))
    work_off(first, queue)
    before = stored_alerts(alerts)
    send(queue, named_flows.slice(0, 500))
    work_off(second, queue)
    after = stored_alerts(alerts)
    assert {key: after[key] for key in before} == before


def other_choice(schema, tmp_path) -> ChooseModel:
    from tests.fixtures.bundles import made_up_flows  # noqa: PLC0415 - of this bundle alone

    return in_charge(train_bundle(tmp_path / "other", schema, made_up_flows(schema, 1500, seed=2), seed=2), schema)


def test_messages_of_a_dead_worker_are_claimed_and_finished(queue, alerts, choose, named_flows, bundle):
    send(queue, named_flows)
    assert len(queue.read("dead", 5, 0)) == 5
    time.sleep(0.06)
    work_off(worker_of(queue, alerts, choose), queue)
    assert stored_alerts(alerts) == expected_alerts(named_flows, bundle)


def test_two_workers_share_the_load_and_raise_each_alert_once(queue, alerts, choose, named_flows, bundle):
    stop = threading.Event()
    threads = [
        threading.Thread(target=Worker(name, queue, alerts, MemoryFeed(), choose, SETTINGS).run, args=(stop,))
        for name in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    send(queue, named_flows, rows=50)
    wait_until(lambda: queue.depth() == 0, "the end of the queue", 20)
    stop.set()
    for thread in threads:
        thread.join()
    assert stored_alerts(alerts) == expected_alerts(named_flows, bundle)


# --- what cannot be processed -------------------------------------------------------------------------------


def test_bytes_that_are_no_batch_are_set_aside_and_the_rest_is_scored(queue, alerts, choose, named_flows, bundle):
    queue.publish(b"GET / HTTP/1.1")
    send(queue, named_flows.slice(0, 200))
    work_off(worker_of(queue, alerts, choose), queue)
    (letter,) = queue.dead_letters()
    assert letter.body == b"GET / HTTP/1.1"
    assert "14 bytes are no batch of flows" in letter.reason
    assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 200), bundle)


def test_a_bad_row_is_set_aside_alone_with_its_reason(queue, alerts, choose, named_flows, bundle):
    damaged = FlowTable(without_id(named_flows.arrow.slice(0, 400), 123), "nsl_kdd")
    send(queue, damaged, rows=400)
    work_off(worker_of(queue, alerts, choose), queue)
    (letter,) = queue.dead_letters()
    assert letter.body == pack(batch_of(damaged.slice(123, 1)))
    assert letter.reason == "InputError: a flow has no flow_id, so its alert could not be told from others"
    expected = expected_alerts(named_flows.slice(0, 123), bundle) | expected_alerts(named_flows.slice(124, 276), bundle)
    assert stored_alerts(alerts) == expected


def without_id(table, row):
    ids = table.column("flow_id").to_pylist()
    ids[row] = None
    place = table.column_names.index("flow_id")
    return table.set_column(place, "flow_id", pa.array(ids, pa.string()))


@pytest.mark.parametrize("fault", ["column", "meter", "schema"])
def test_a_batch_that_is_wrong_as_a_whole_is_set_aside_as_a_whole(queue, alerts, choose, named_flows, fault):
    table = {
        "column": FlowTable(named_flows.arrow.drop_columns(["src_bytes"]), "nsl_kdd"),
        "meter": FlowTable(named_flows.arrow, "nsl_kdd", MeterStamp("corrected", "1")),
        "schema": FlowTable(named_flows.arrow, "zeek_conn"),
    }[fault].slice(0, 50)
    send(queue, table)
    work_off(worker_of(queue, alerts, choose), queue)
    (letter,) = queue.dead_letters()
    assert letter.body == pack(batch_of(table))
    assert {"column": "src_bytes", "meter": "metered in mode", "schema": "zeek_conn"}[fault] in letter.reason


def test_dead_letters_that_are_redriven_alert_once_the_cause_is_gone(queue, alerts, choose, named_flows, bundle):
    def refuse(schema_id):
        return choose("other")

    send(queue, named_flows.slice(0, 300), rows=100)
    work_off(worker_of(queue, alerts, refuse), queue)
    assert queue.redrive([letter.letter_id for letter in queue.dead_letters()]) == 3
    work_off(worker_of(queue, alerts, choose), queue)
    assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 300), bundle)


def test_a_batch_that_ends_its_workers_is_halved_until_its_rows_are_alone(queue, alerts, choose, named_flows):
    worker = worker_of(queue, alerts, choose)
    send(queue, named_flows.slice(0, 4))
    for _ in range(3):  # 4 rows, 2, 1
        queue.read("dies", 10, 0)
        queue.claim("dies", 0, 10)
        time.sleep(0.06)
        worker.work_once(RUNNING, wait_s=0)
    letters = queue.dead_letters()
    rows = [unpack(letter.body).flows.arrow for letter in letters]
    assert [row.to_pylist() for row in rows] == [named_flows.slice(at, 1).arrow.to_pylist() for at in range(4)]
    assert letters[0].reason == "handed out 3 times and never finished; does it end its worker?"


# --- what is away -------------------------------------------------------------------------------------------


def test_nothing_is_acknowledged_while_the_store_is_away_and_health_says_so(choose, named_flows, bundle, tmp_path):
    queue, stop = MemoryQueue(), threading.Event()
    (tmp_path / "home").write_text("a file where a folder belongs")
    alerts = EmbeddedAlertStore(tmp_path / "home" / "alerts.sqlite")
    worker = worker_of(queue, alerts, choose)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    send(queue, named_flows.slice(0, 500))
    wait_until(lambda: worker.health.snapshot()["status"] == "degraded", "notice")
    assert "home" in worker.health.snapshot()["components"]["store"]["detail"]
    assert queue.depth() == 2
    (tmp_path / "home").unlink()
    wait_until(lambda: queue.depth() == 0, "recovery", 5)
    stop.set()
    thread.join()
    assert worker.health.snapshot()["status"] == "ok"
    assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 500), bundle)
    alerts.close()


def test_flows_wait_for_a_detector_and_none_is_lost(alerts, choose, named_flows, bundle):
    queue, stop, ready = MemoryQueue(), threading.Event(), threading.Event()

    def once_ready(schema_id):
        if not ready.is_set():
            raise BundleError("no detector serves: nothing has been trained or restored yet")
        return choose(schema_id)

    worker = worker_of(queue, alerts, once_ready)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    send(queue, named_flows.slice(0, 500))
    wait_until(lambda: not worker.health.snapshot()["components"].get("detector", {"ok": True})["ok"], "notice")
    ready.set()
    wait_until(lambda: queue.depth() == 0, "recovery", 5)
    stop.set()
    thread.join()
    assert stored_alerts(alerts) == expected_alerts(named_flows.slice(0, 500), bundle)


def test_a_worker_that_is_told_to_stop_while_the_store_is_away_leaves_its_messages_to_others(
    choose, named_flows, tmp_path
):
    queue, stop = MemoryQueue(), threading.Event()
    (tmp_path / "home").write_text("in the way")
    worker = worker_of(queue, EmbeddedAlertStore(tmp_path / "home" / "alerts.sqlite"), choose)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    send(queue, named_flows.slice(0, 500))
    wait_until(lambda: worker.health.snapshot()["status"] == "degraded", "notice")
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    assert queue.depth() == 2


# --- bundles, early records, followers ------------------------------------------------------------------------


def test_after_a_swap_each_alert_names_its_bundle_and_no_flow_is_missed(
    queue, alerts, choose, named_flows, bundle, nsl_schema, tmp_path
):
    other = other_choice(nsl_schema, tmp_path)
    current: list[ChooseModel] = [choose]
    worker = worker_of(queue, alerts, lambda schema_id: current[0](schema_id))  # noqa: PLW0108 - looked up anew each time
    first, second = named_flows.slice(0, 1000), named_flows.slice(1000, 1000)
    send(queue, first)
    work_off(worker, queue)
    current[0] = other
    send(queue, second)
    work_off(worker, queue)
    other_bundle = other("nsl_kdd").bundle
    assert stored_alerts(alerts) == expected_alerts(first, bundle) | expected_alerts(second, other_bundle)
    assert alerts.count({"bundle_id": bundle.bundle_id}) == len(expected_alerts(first, bundle))
    assert alerts.count({"bundle_id": other_bundle.bundle_id}) == len(expected_alerts(second, other_bundle))


def test_an_early_alert_is_confirmed_or_withdrawn_by_the_final_record(queue, alerts, choose, named_flows, bundle):
    alerting, quiet = alerting_and_quiet(named_flows, bundle)
    worker = worker_of(queue, alerts, choose)
    queue.publish(pack(batch_of(records([("a", alerting), ("b", alerting), ("c", quiet)], "interim"))))
    work_off(worker, queue)
    assert alerts.count({"interim": True}) == 2
    queue.publish(pack(batch_of(records([("a", alerting), ("b", quiet), ("c", alerting)], "closed"))))
    work_off(worker, queue)
    found = {alert.alert_id: alert for alert in alerts.find().alerts}
    assert {key: (one.interim, one.withdrawn_at is not None) for key, one in found.items()} == {
        alert_id("a"): (False, False),
        alert_id("b"): (False, True),
        alert_id("c"): (False, False),
    }


def alerting_and_quiet(table, bundle):
    expected = expected_alerts(table, bundle)
    rows = table.arrow.to_pylist()
    loud = next(row for row in rows if alert_id(row["flow_id"]) in expected)
    return loud, next(row for row in rows if alert_id(row["flow_id"]) not in expected)


def records(flows, ended_by) -> FlowTable:
    rows = [{**row, "flow_id": name, "ended_by": ended_by, "had_interim": ended_by != "interim"} for name, row in flows]
    return FlowTable(pa.Table.from_pylist(rows), "nsl_kdd")


def test_followers_get_every_flow_with_its_score(queue, alerts, choose, named_flows, bundle):
    feed = MemoryFeed()
    send(queue, named_flows.slice(0, 500))
    work_off(worker_of(queue, alerts, choose, feed), queue)
    batches = [read_scored(body) for _, body in feed.after("", 100, 0)]
    assert sorted(name for batch in batches for name in batch.flows["flow_id"].to_pylist()) == sorted(
        named_flows.slice(0, 500).arrow["flow_id"].to_pylist()
    )
    assert max(map(len, batches)) <= SETTINGS.batch_rows
    first = batches[0]
    assert (first.bundle_id, first.schema_id, first.source, first.sensor) == (
        bundle.bundle_id, "nsl_kdd", "replay", "test",
    )  # fmt: skip
    assert first.sent_at == NOON
    assert first.delay_s > 0
    assert {"score", "verdict", "family", "threshold", "label"} <= set(first.flows.column_names)
    with pytest.raises(InputError, match="14 bytes are no batch of scored flows"):
        read_scored(b"GET / HTTP/1.1")


def test_scored_flows_are_written_as_json_lines_on_request(alerts, choose, named_flows, bundle, tmp_path):
    queue = MemoryQueue()
    send(queue, named_flows.slice(0, 500))
    with prediction_logs(tmp_path / "logs", most_mb=1, files=2) as logs:
        work_off(Worker("w", queue, alerts, MemoryFeed(), choose, SETTINGS, logs), queue)
    expected = expected_alerts(named_flows.slice(0, 500), bundle)
    positive, negative = (
        [json.loads(line) for line in (tmp_path / "logs" / f"{kind}_predictions.log").read_text().splitlines()]
        for kind in ("positive", "negative")
    )
    assert {alert_id(row["flow_id"]) for row in positive} == set(expected)
    assert len(positive) + len(negative) == 500
    assert positive[0]["bundle_id"] == bundle.bundle_id


def test_a_message_from_a_clock_that_is_ahead_counts_as_no_wait(alerts, choose, named_flows):
    queue = MemoryQueue()
    queue.publish(pack(replace(batch_of(named_flows.slice(0, 5)), sent_at=NOON + timedelta(days=9999))))
    work_off(worker_of(queue, alerts, choose), queue)
    assert queue.dead_letters() == []
