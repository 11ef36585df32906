"""A load that is killed at any moment loses nothing and repeats nothing."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from netwarden.errors import NotFoundError
from netwarden.sources.connect import open_flow_store
from netwarden.sources.etl import run_etl
from tests.fixtures.data import ROOT


def _start(settings):
    environment = os.environ | {
        "NETWARDEN_WORKSPACE": str(settings.workspace),
        "NETWARDEN_HOME": str(settings.home),
        "NETWARDEN_DATA": str(settings.datasets),
    }
    return subprocess.Popen(
        [sys.executable, str(ROOT / "ETL.py"), "--dataset", "nsl-kdd"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _rows(settings):
    store = open_flow_store(settings)
    try:
        return sum(store.summary("nsl_kdd").rows.values())
    except NotFoundError:
        return 0
    finally:
        store.close()


@pytest.mark.slow
def test_killed_at_random_moments_and_started_again_it_stores_every_row_once(settings, nsl_slice, nsl_lines):
    # Transactions of two rows: kills fall between or into them, and a load takes far longer than a look at the store.
    (settings.workspace / "config").mkdir()
    (settings.workspace / "config" / "netwarden.yaml").write_text("etl: {batch_rows: 2}\n")
    total = len(nsl_lines["train"]) + len(nsl_lines["test"])
    draw = random.Random(7)
    held = 0
    for _ in range(4):
        process = _start(settings)
        # Some rows past those of the run before: however late this process looks, most of the load is still to come.
        while process.poll() is None and _rows(settings) < held + total // 12:
            time.sleep(draw.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert held < _rows(settings) < total, "the kill came too late to mean anything"
        held = _rows(settings)
    report = run_etl(settings, [], dataset="nsl_kdd")
    assert report.inserted == total - held and report.known == held
    assert _rows(settings) == total
    assert run_etl(settings, [], dataset="nsl_kdd").inserted == 0


def test_the_command_says_first_which_store_gets_the_rows_and_ends_with_a_report(settings, nsl_slice, nsl_lines):
    out, _ = _start(settings).communicate(timeout=120)
    assert out.splitlines()[0] == f"rows go to embedded store {settings.home / 'flows.sqlite'}"
    assert f"rows in        {len(nsl_lines['train']) + len(nsl_lines['test']):,}" in out
