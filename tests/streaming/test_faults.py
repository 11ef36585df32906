"""Whatever is killed, and whenever: the store ends up with exactly the alerts of the flows that were sent."""

import shutil
import threading
import time
from contextlib import closing

import pytest

from netwarden.portal.models.champions import Champions
from netwarden.sources.connect import open_alert_store
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_together
from netwarden.streaming.sensor import replay_source, spool_folder
from tests.fixtures.servers import free_port, wait_until
from tests.streaming.conftest import deploy, expected_alerts, stored_alerts
from tests.streaming.faults import redis_program, replay_under_fire, stand

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.mark.slow
def test_killed_workers_sensor_and_redis_lose_and_double_no_alert(tmp_path):
    with stand(tmp_path, flows=1200, rate=400) as at:
        counts = replay_under_fire(at, rounds=3, pause_s=0.3)
    assert "id by id the same" in counts


def test_while_redis_is_away_flows_wait_on_disk_and_afterwards_none_is_missing(flows, bundle, tmp_path):
    redis = redis_program(tmp_path, free_port())
    redis.start()
    deployment = deploy(tmp_path / "home", flows, bundle, REDIS_URL=f"redis://127.0.0.1:{redis.port}/0")
    settings = deployment.settings
    source = replay_source(settings, ReplayPlan("made_up", rate=600))
    arguments = (settings, source, Champions(settings).choose, threading.Event())
    runner = threading.Thread(target=run_together, args=arguments)
    runner.start()
    try:
        time.sleep(0.5)
        redis.kill()
        wait_until(lambda: len(list(spool_folder(settings).glob("*.batch"))) > 20, "spooling", 10)
        redis.start()
        back_s = time.monotonic()
        wait_until(lambda: not list(spool_folder(settings).glob("*.batch")), "recovery", 5)
        runner.join(20)
        assert not runner.is_alive(), f"not done {time.monotonic() - back_s:.0f} s after its return"
    finally:
        redis.kill()
        arguments[3].set()
        runner.join()
    with closing(open_alert_store(settings)) as store:
        assert stored_alerts(store) == expected_alerts(deployment.flows, bundle)
