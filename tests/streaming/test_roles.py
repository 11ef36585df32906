"""Sensor and worker as they run: in one process, and how they say that they are well."""

import json
import threading
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from netwarden.errors import ConfigError
from netwarden.portal.champions import Champions
from netwarden.sources.connect import open_alert_store
from netwarden.streaming.health import Health, served
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_sensor, run_together, run_worker
from netwarden.streaming.sensor import replay_source
from tests.streaming.conftest import expected_alerts, stored_alerts


def test_all_roles_in_one_process_store_exactly_what_the_scorer_says(deployment):
    settings = deployment.settings
    source = replay_source(settings, ReplayPlan("made_up", rate=0))
    report = run_together(settings, source, Champions(settings).choose, threading.Event())
    assert str(report) == "1,500 flows sent"
    with closing(open_alert_store(settings)) as store:
        assert stored_alerts(store) == expected_alerts(deployment.flows, deployment.bundle)


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
