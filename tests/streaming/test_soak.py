"""A short `make soak-hour`."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.fixtures.data import ROOT

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.mark.slow
def test_under_load_memory_stays_and_every_flow_sent_is_scored_and_its_alert_stored(tmp_path):
    soak = [sys.executable, "benchmarks/soak_stream.py", "--small", "--minutes", "2", "--minute-s", "1.5"]
    told = subprocess.run([*soak, "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    figures = [json.loads(line) for line in (tmp_path / "soak_stream.jsonl").read_text().splitlines()]
    growth = {line["name"]: line["ratio_to"]["first minute"] for line in figures if "first minute" in line["ratio_to"]}
    assert growth["last minute: worker"] < 1.1
    assert growth["last minute: sensor"] < 1.1
    sent = next(line for line in figures if line["name"] == "flows sent")
    assert sent["alerts_stored"] == sent["alerts_expected"] > 100
