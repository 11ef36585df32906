"""Backup and restore of docs/operations.md, with its own commands: nothing of the state is missing afterwards."""

import os
import re
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime

import pytest

from netwarden.flows.alert import Alert
from netwarden.scoring.model import Model, load
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_alert_store, open_backup, open_registry
from tests.fixtures.data import ROOT
from tests.fixtures.servers import script
from tests.portal.conftest import make_champion

GUIDE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
ALERT = Alert(
    alert_id="a" * 32,
    flow_id="f",
    bundle_id="b",
    schema_id="nsl_kdd",
    raised_at=datetime(2026, 1, 1, tzinfo=UTC),
    score=0.9,
    threshold=0.5,
    verdict="novel",
)


def at(home, **more: str) -> Settings:
    return load_settings({"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(home), **more})


def commands(first_word: str) -> str:
    """The line of the section on backups that begins so."""
    section = GUIDE.partition("## Backup and restore")[2].partition("\n## ")[0]
    (line,) = re.findall(rf"^{first_word}.*$", section, re.MULTILINE)
    return str(line)


def test_a_copy_of_the_state_folder_brings_back_alerts_and_champion(bundle, tmp_path):
    settings = at(tmp_path / "home")
    make_champion(settings, bundle)
    with closing(open_alert_store(settings)) as alerts:
        alerts.add([ALERT])
    run(commands("tar --create"), tmp_path, settings)
    shutil.rmtree(settings.home)
    run(commands("mkdir -p"), tmp_path, settings)
    with closing(open_alert_store(settings)) as alerts:
        assert alerts.get(ALERT.alert_id) == ALERT
    restored: Model = load("champion", settings=settings)
    assert restored.bundle.bundle_id == bundle.bundle_id


def run(line: str, folder, settings: Settings) -> None:
    subprocess.run(
        ["bash", "-c", line], cwd=folder, env={**os.environ, "NETWARDEN_HOME": str(settings.home)}, check=True
    )


@pytest.mark.slow
def test_after_a_total_loss_the_bucket_brings_the_champion_back_by_the_guides_command(bundle, s3_bucket, tmp_path):
    settings = at(tmp_path / "lost", **s3_bucket.environment)
    open_backup(settings).put_folder(f"bundles/{bundle.bundle_id}", bundle.folder)
    assert "`netwarden restore` the bundle (it becomes champion" in GUIDE
    new = {"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(tmp_path / "new"), **s3_bucket.environment}
    command = [script("netwarden"), "restore", bundle.bundle_id]
    told = subprocess.run(command, env={**os.environ, **new}, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    with closing(open_registry(load_settings(new))) as registry:
        champion = registry.champion(bundle.schema_id)
    assert champion is not None and champion.bundle_id == bundle.bundle_id
