"""Whatever is killed, and whenever: the store ends up with exactly the alerts of the flows that were sent."""

import shutil

import pytest

from tests.streaming.faults import replay_under_fire, stand


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_killed_workers_sensor_and_redis_lose_and_double_no_alert(tmp_path):
    with stand(tmp_path, flows=2000, rate=300) as at:
        counts = replay_under_fire(at, rounds=3, pause_s=1)
    assert "id by id the same" in counts
