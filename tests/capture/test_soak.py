"""A short `make soak`: ten times the flows in the same memory, and a live run that drops nothing and does not grow."""

import os
import subprocess
import sys

import pytest

from tests.fixtures.data import ROOT


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_ten_times_the_flows_and_a_longer_live_run_take_the_memory_of_the_first(tmp_path):
    live_s = "8" if os.geteuid() == 0 else "0"
    soak = [sys.executable, "benchmarks/soak_meter.py", "--flows", "140000", "--live-seconds", live_s]
    told = subprocess.run([*soak, "--results", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "memory at 140000 flows" in told.stdout and "memory at 1400000 flows" in told.stdout
