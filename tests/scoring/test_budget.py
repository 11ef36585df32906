"""Another budget for a bundle in service: a new bundle with another threshold, and nothing is trained."""

import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.errors import ConfigError
from netwarden.scoring.budget import budget_table, set_budget
from netwarden.scoring.model import load
from netwarden.settings import Settings
from netwarden.sources.connect import open_backup, open_registry
from netwarden.sources.store import BundleEntry
from tests.fixtures.bundles import train_bundle
from tests.fixtures.data import ROOT


@pytest.fixture(scope="module")
def trained(nsl_schema, flows, tmp_path_factory):
    return train_bundle(tmp_path_factory.mktemp("trained") / "bundle", nsl_schema, flows)


@pytest.fixture
def settings(trained, tmp_path) -> Settings:
    """A store whose champion is a bundle with a budget of 2 %."""
    settings = Settings.model_validate({"workspace": ROOT, "home": tmp_path, "datasets": tmp_path})
    settings.bundles_dir.mkdir()
    (settings.bundles_dir / trained.bundle_id).symlink_to(trained.folder)
    with closing(open_registry(settings)) as registry:
        facts = trained.bundle_id, "nsl_kdd", trained.bundle_id, datetime.now(UTC), {"f1": 0.9}, {"test.f1": 0.8}
        registry.register(BundleEntry(*facts), "ann", "trained")
        registry.promote(trained.bundle_id, "ann", "the first")
    return settings


def test_the_champion_is_succeeded_by_a_bundle_that_differs_in_its_threshold_only(settings, trained, flows):
    before = load("champion", settings).score(flows)
    entry = set_budget(settings, 0.2, who="bob")
    after = load("champion", settings)
    assert after.bundle.bundle_id == entry.bundle_id != trained.bundle_id
    assert after.bundle.manifest.threshold.budget == 0.2 and after.bundle.threshold < trained.threshold
    assert after.bundle.manifest.derived_from == trained.bundle_id
    assert after.score(flows).column("score").equals(before.column("score"))
    assert load_bundle(trained.folder).bundle_id == trained.bundle_id


def test_the_history_says_who_moved_it_and_figures_of_the_other_threshold_are_not_taken_over(settings):
    entry = set_budget(settings, 0.2, who="bob")
    with closing(open_registry(settings)) as registry:
        event = registry.history()[0]
        assert (event.action, event.who, event.bundle_id) == ("promote", "bob", entry.bundle_id)
        assert "threshold moved from a budget of 2.0000% to 20.0000%" in event.why
        known = registry.entry(entry.bundle_id)
    assert known.validation == {"f1": 0.9} and known.metrics == {}
    assert f"bundles/{entry.bundle_id}" in open_backup(settings).keys("bundles/")


def test_moving_to_the_same_budget_twice_gives_the_same_bundle(settings, trained):
    first = set_budget(settings, 0.2, who="bob")
    assert set_budget(settings, 0.2, who="bob", bundle=trained.bundle_id).bundle_id == first.bundle_id


def test_a_challenger_with_another_budget_stays_a_challenger(settings, trained):
    champion = set_budget(settings, 0.2, who="bob")
    other = set_budget(settings, 0.1, who="bob", bundle=trained.bundle_id)
    with closing(open_registry(settings)) as registry:
        present = registry.champion("nsl_kdd")
    assert present is not None and present.bundle_id == champion.bundle_id != other.bundle_id


def test_a_budget_that_the_held_out_flows_cannot_tell_is_refused(settings):
    with pytest.raises(ConfigError, match="is below what this bundle can promise"):
        set_budget(settings, 0.00001, who="bob")


def test_the_table_shows_alerts_a_day_and_marks_the_budget_in_force(settings):
    table = budget_table(settings, flows_per_day=50_000)
    marked = next(line for line in table.splitlines() if "in force" in line)
    assert marked.strip().startswith("2.0000%")
    assert "50,000 benign flows a day" in table


def test_the_command_moves_the_threshold_to_so_many_alerts_a_day(settings):
    environment = {"PATH": os.environ["PATH"], "NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(settings.home)}
    command = [sys.executable, "-c", "from netwarden.cli import main; main()", "threshold"]
    options = ["--alerts-per-day", "5000", "--flows-per-day", "50000"]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert next(line for line in done.stdout.splitlines() if "in force" in line).strip().startswith("10.0000%")
    both = subprocess.run(
        [*command, "--budget", "1", *options], env=environment, capture_output=True, text=True, check=False
    )
    assert both.returncode != 0 and "not both" in both.stderr
