"""`netwarden models list | promote | rollback`, as a process on a registry of two bundles."""

import os
import re
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from tests.fixtures.data import ROOT


def models(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(home)}
    command = [sys.executable, "-c", "from netwarden.cli import main; main()", "models", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    settings = Settings.model_validate({"workspace": ROOT, "home": tmp_path, "datasets": tmp_path})
    with closing(open_registry(settings)) as registry:
        for bundle_id, f1 in (("aaaa1111", 0.91), ("bbbb2222", 0.93)):
            entry = BundleEntry(bundle_id, "nsl_kdd", bundle_id, datetime.now(UTC), {"f1": f1, "recall": 0.9})
            registry.register(entry, "ann", "trained")
        registry.promote("aaaa1111", "ann", "the first")
    return tmp_path


def test_the_list_marks_the_champion_and_shows_what_tells_bundles_apart(home):
    lines = models(home, "list").stdout.splitlines()
    assert lines[0].split() == ["bundle", "schema", "registered", "(UTC)", "F1", "recall", "FPR", "ROC", "AUC"]
    assert re.fullmatch(r"challenger  bbbb2222  nsl_kdd  \d{4}-\d\d-\d\d \d\d:\d\d +0\.9300  0\.9000  –    –", lines[1])
    assert lines[2].startswith("champion    aaaa1111")


@pytest.mark.slow
def test_promote_and_rollback_change_the_champion_and_keep_who_when_and_why(home):
    assert models(home, "promote", "bbbb", "--reason", "better F1").stdout == "champion of nsl_kdd: bbbb2222\n"
    assert models(home, "rollback", "nsl_kdd", "--reason", "too many alerts").stdout.endswith(": aaaa1111\n")
    history = models(home, "list", "--history").stdout.splitlines()
    assert [line.split()[2] for line in history[1:]] == ["rollback", "promote", "promote", "register", "register"]
    assert history[1].endswith("too many alerts")
    assert history[2].endswith("better F1")


@pytest.mark.slow
def test_an_empty_registry_and_bad_requests_say_what_to_do(tmp_path, home):
    assert "`python main.py` trains one" in models(tmp_path / "empty", "list").stdout
    assert models(home, "list", "--schema", "cic_flow").stdout.startswith("no bundle of schema cic_flow is registered")
    unknown = models(home, "promote", "cccc", "--reason", "why not")
    assert (unknown.returncode, unknown.stderr.startswith("NotFoundError: no bundle 'cccc' is registered")) == (1, True)
    first = models(home, "rollback", "nsl_kdd", "--reason", "why not")
    assert (first.returncode, "no earlier champion" in first.stderr) == (1, True)
    assert models(home, "promote", "bbbb2222").returncode == 2  # without a reason
