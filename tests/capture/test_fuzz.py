"""A seeded slice of the damaged captures; `make fuzz` runs a million, `make fuzz-bounds` with bounds checks."""

import os
import subprocess
import sys

import pytest

from tests.capture import fuzz
from tests.fixtures.data import ROOT


def test_damaged_captures_never_crash_and_account_for_every_frame():
    report = fuzz.run(3000, seed=3)
    assert report.captures == 3000
    assert len(report.behaviours) > 300


def test_a_run_is_decided_by_its_seed():
    assert fuzz.run(200, seed=5) == fuzz.run(200, seed=5)


@pytest.mark.slow  # compiles every kernel once more, with checks
def test_no_kernel_reads_out_of_bounds(tmp_path):
    """The check of indices goes into the compiled code, so these kernels are compiled for themselves."""
    checked = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.capture.fuzz", "--count", "3000"],
        cwd=ROOT,
        env=checked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert "bounds checked: 3,000 captures" in run.stdout


def test_a_read_beyond_a_frame_would_be_seen():
    code = (
        "import numba, numpy\n"
        "@numba.njit(boundscheck=False)\n"
        "def read(data, at): return data[at]\n"
        "read(numpy.zeros(3), 3)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "IndexError" in run.stderr
