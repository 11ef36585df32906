"""Sensor and worker as they run: in one process, and how they say that they are well."""

import json
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from netwarden.errors import ConfigError, InputError
from netwarden.portal.models.champions import Champions
from netwarden.sources.connect import open_alert_store, open_feed, open_registry
from netwarden.sources.filters import Range
from netwarden.sources.redis_queue import RedisFeed
from netwarden.streaming.health import Health, served
from netwarden.streaming.heartbeat import HEARTBEATS, KEPT, beating, read_heartbeat
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_sensor, run_together, run_worker
from netwarden.streaming.sampled import ENTRIES, SAMPLES, sampled
from netwarden.streaming.scored import read_scored
from netwarden.streaming.sensor import replay_source
from tests.fixtures.bundles import train_bundle
from tests.fixtures.servers import free_port, wait_until
from tests.streaming.conftest import expected_alerts, register, stored_alerts


def test_all_roles_in_one_process_store_exactly_what_the_scorer_says(deployment):
    settings = deployment.settings
    source = replay_source(settings, ReplayPlan("made_up", rate=0))
    report = run_together(settings, source, Champions(settings).choose, threading.Event())
    assert str(report) == "1,500 flows sent"
    with closing(open_alert_store(settings)) as store:
        assert stored_alerts(store) == expected_alerts(deployment.flows, deployment.bundle)


def heartbeats(feed):
    return [read_heartbeat(body) for _, body in feed.after("", KEPT, 0)]


def test_a_portal_in_the_same_process_follows_the_scored_flows_and_the_heartbeats_of_the_roles(deployment):
    settings, hearts = deployment.settings, open_feed(deployment.settings, HEARTBEATS, KEPT)

    def follow() -> None:
        feed = open_feed(settings)
        wait_until(lambda: sum(len(read_scored(body)) for _, body in feed.after("", 10_000, 1)) == 1500, "all flows")
        samples = sampled([body for _, body in open_feed(settings, SAMPLES, ENTRIES).after("", ENTRIES, 1)])
        assert samples
        assert set(deployment.bundle.preprocessor.names) <= set(samples[0].flows.names)
        wait_until(lambda: any(beat.flows_per_s for beat in heartbeats(hearts)), "a heartbeat under load", 10)

    source = replay_source(settings, ReplayPlan("made_up", rate=0))
    run_together(settings, source, Champions(settings).choose, threading.Event(), follow)
    last = {beat.role: beat for beat in heartbeats(hearts)}
    assert {(beat.role, beat.health["flows"], beat.ended) for beat in last.values()} == {
        ("sensor", 1500, True),
        ("worker", 1500, True),
    }
    assert (last["sensor"].name, last["worker"].health["status"]) == ("edge", "ok")
    assert last["worker"].port != last["sensor"].port != 0


def test_a_heart_beats_through_redis_at_its_pace_and_a_server_that_is_away_holds_no_role_up(redis_url):
    with closing(RedisFeed(redis_url, HEARTBEATS, KEPT)) as feed:
        with beating(feed, Health("worker"), "w", 9102, every_s=0.05):
            wait_until(lambda: len(heartbeats(feed)) > 2, "three beats", 5)
        assert [beat.ended for beat in heartbeats(feed)].count(True) == 1 and heartbeats(feed)[-1].ended
    begun_s = time.monotonic()
    away = RedisFeed(f"redis://127.0.0.1:{free_port()}/0", HEARTBEATS, KEPT)
    with closing(away), beating(away, Health("worker"), "w", 9102, every_s=0.05):
        time.sleep(0.1)
    assert time.monotonic() - begun_s < 2
    with pytest.raises(InputError, match="14 bytes are no heartbeat"):
        read_heartbeat(b"GET / HTTP/1.1")


def test_what_was_sent_is_finished_before_all_roles_stop(deployment):
    settings, stop = deployment.settings, threading.Event()
    source = replay_source(settings, ReplayPlan("made_up", rate=2000))
    threading.Timer(0.3, stop.set).start()
    report = run_together(settings, source, Champions(settings).choose, stop)
    assert 0 < report.flows < 1500
    with closing(open_alert_store(settings)) as store:
        assert stored_alerts(store) == expected_alerts(deployment.flows.slice(0, report.flows), deployment.bundle)


def test_a_promoted_bundle_scores_the_stream_within_five_seconds_and_a_rollback_too(
    deployment, nsl_schema, flows, tmp_path
):
    settings, stop = deployment.settings, threading.Event()
    other = train_bundle(tmp_path / "other", nsl_schema, flows, seed=2, params={"n_estimators": 5, "max_depth": 3})
    source = replay_source(settings, ReplayPlan("made_up", rate=1000, loop=True))
    arguments = (settings, source, Champions(settings).choose, stop)
    runner = threading.Thread(target=run_together, args=arguments)
    runner.start()
    try:
        with closing(open_alert_store(settings)) as store, closing(open_registry(settings)) as registry:
            wait_until(lambda: store.count({"bundle_id": deployment.bundle.bundle_id}) > 0, "the first bundle")
            register(settings, other)
            wait_until(lambda: store.count({"bundle_id": other.bundle_id}) > 0, "the promotion", 5)
            registry.rollback("nsl_kdd", "ann", "worse")
            at = datetime.now(UTC) + timedelta(seconds=0.1)
            back = {"bundle_id": deployment.bundle.bundle_id, "raised_at": Range(at_least=at)}
            wait_until(lambda: store.count(back) > 0, "the rollback", 5)
    finally:
        stop.set()
        runner.join()


def test_a_role_of_its_own_asks_for_redis(deployment):
    settings = deployment.settings
    with pytest.raises(ConfigError, match=r"a worker of its own needs REDIS_URL.*`netwarden up` runs all roles"):
        run_worker(settings, Champions(settings).choose, threading.Event())
    with pytest.raises(ConfigError, match="a sensor of its own needs REDIS_URL"):
        run_sensor(settings, replay_source(settings, ReplayPlan("made_up", 0)), threading.Event())


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_tells_what_is_away_since_when_and_why():
    health = Health("worker")
    with served(health, "127.0.0.1", 0) as port:
        assert json.loads(get(port, "/health")[1]) == {"role": "worker", "status": "ok", "components": {}}
        health.report("store", "disk full")
        health.note(flows=7)
        status, body = get(port, "/health")
        facts = json.loads(body)
        assert (status, facts["status"], facts["flows"]) == (503, "degraded", 7)
        assert facts["components"]["store"]["detail"] == "disk full"
        health.report("store")
        assert get(port, "/health")[0] == 200
        assert get(port, "/nothing")[0] == 404


def test_metrics_are_served_and_name_what_streams():
    with served(Health("worker"), "127.0.0.1", 0) as port:
        status, body = get(port, "/metrics")
    assert status == 200
    for name in ("stream_flows", "stream_seconds", "queue_depth", "stream_lost", "stream_dead_letters"):
        assert f"# HELP netwarden_{name}" in body


def test_a_port_that_is_taken_is_named_with_what_to_do():
    with (
        served(Health("worker"), "127.0.0.1", 0) as port,
        pytest.raises(ConfigError, match=rf"worker: 127.0.0.1:{port} cannot be bound .*--port"),
        served(Health("worker"), "127.0.0.1", port),
    ):
        pass
