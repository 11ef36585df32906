"""A bundle fitted to the flows of another network, attacks hidden among them or not."""

import csv
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from typer.testing import CliRunner

from netwarden.cli import app
from netwarden.detectors.bundle import load_bundle
from netwarden.detectors.hybrid import Hybrid
from netwarden.errors import ConfigError, InputError
from netwarden.flows.labels import load_families
from netwarden.flows.table import FlowTable
from netwarden.scoring.adaptation import adapt, beyond_the_tail
from netwarden.scoring.calibrate import calibrate_bundle
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.files import read_batches
from netwarden.sources.store import BundleEntry
from tests.fixtures.bundles import SMALL_HYBRID, made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.fixtures.toy import with_column


def of_family(table, benign):
    test = pa.compute.equal if benign else pa.compute.not_equal
    return replace(table, arrow=table.arrow.filter(test(table.arrow.column("family"), "benign")))


@pytest.fixture(scope="module")
def elsewhere(nsl_schema):
    """Benign flows of another network: the same services, many times the bytes."""
    calm = of_family(made_up_flows(nsl_schema, 16_000, seed=7), benign=True)
    for name in ("src_bytes", "dst_bytes", "duration", "count", "srv_count"):
        values = np.array(calm.arrow.column(name))
        high = nsl_schema.column(name).range[1]
        calm = with_column(
            calm, name, np.minimum(values * 6, high if high is not None else np.inf).astype(values.dtype)
        )
    return calm


@pytest.fixture(scope="module")
def network(hybrid_bundle, elsewhere):
    """That network as a matrix: one part to calibrate on, the other to see how it does."""
    matrix = hybrid_bundle.preprocessor.transform(elsewhere.arrow)
    return matrix[:6000], matrix[6000:]


@pytest.fixture
def settings(hybrid_bundle, tmp_path) -> Settings:
    """A store whose champion is the small hybrid."""
    settings = Settings.model_validate({"workspace": ROOT, "home": tmp_path, "datasets": tmp_path})
    settings.bundles_dir.mkdir()
    (settings.bundles_dir / hybrid_bundle.bundle_id).symlink_to(hybrid_bundle.folder)
    with closing(open_registry(settings)) as registry:
        bundle_id = hybrid_bundle.bundle_id
        entry = BundleEntry(bundle_id, "nsl_kdd", bundle_id, datetime.now(UTC), {"f1": 0.9}, {})
        registry.register(entry, "ann", "trained")
        registry.promote(hybrid_bundle.bundle_id, "ann", "the first")
    return settings


def alerting(bundle, made, matrix):
    return np.mean(bundle.calibration.apply(made.detector.score(matrix)) >= made.threshold.value)


def test_another_network_alerts_as_the_budget_says_once_calibrated(hybrid_bundle, network):
    mine, others = network
    before = np.mean(hybrid_bundle.calibration.apply(hybrid_bundle.detector.score(others)) >= hybrid_bundle.threshold)
    made = adapt(hybrid_bundle, mine, 0.02)
    assert before > 0.03 and 0.01 < alerting(hybrid_bundle, made, others) < 0.035
    assert made.before == pytest.approx(before, abs=0.05) and made.after == pytest.approx(0.02, abs=0.01)
    assert isinstance(made.detector, Hybrid) and made.detector.trees is hybrid_bundle.detector.trees
    assert made.set_aside.mean() < 0.01


def test_hidden_attacks_use_up_no_more_of_the_budget_than_they_are_many(hybrid_bundle, network, flows):
    mine, others = network
    attacks = hybrid_bundle.preprocessor.transform(of_family(flows, benign=False).arrow)[:60]
    clean, dirty = (adapt(hybrid_bundle, each, 0.02) for each in (mine, np.vstack([mine, attacks])))
    shares = [alerting(hybrid_bundle, made, others) for made in (clean, dirty)]
    assert shares[0] - 0.01 - 0.002 < shares[1] < shares[0] + 0.002


@pytest.fixture(scope="module")
def real(nsl_kdd, nsl_schema, tmp_path_factory):
    """A small hybrid of KDDTrain+ rows; of later ones, benign flows to calibrate on, others to judge by, attacks."""
    families = load_families(ROOT / "schema" / "families.yaml")
    batches = islice(read_batches(nsl_kdd / "KDDTrain+.txt.gz", nsl_schema, families, labelled=True), 3)
    table = FlowTable(pa.concat_tables([batch.table.arrow for batch in batches]), nsl_schema.id)
    folder = tmp_path_factory.mktemp("real") / "bundle"
    bundle = train_bundle(folder, nsl_schema, table.slice(0, 8000), kind="hybrid", params=SMALL_HYBRID)
    later = table.slice(8000, len(table) - 8000)
    benign, attacks = (bundle.preprocessor.transform(of_family(later, benign=which).arrow) for which in (True, False))
    return bundle, benign[:4500], benign[4500:], attacks


def test_one_percent_of_real_hidden_attacks_moves_the_threshold_little_and_their_like_go_on_alerting(real):
    bundle, mine, others, attacks = real
    made = adapt(bundle, np.vstack([mine, attacks[:45]]), 0.02)
    assert alerting(bundle, made, others) == pytest.approx(0.02, abs=0.01)
    assert alerting(bundle, made, attacks[45:]) > 0.9


def test_one_percent_of_hidden_flows_like_nothing_else_moves_the_threshold_little(real):
    bundle, mine, others, _ = real
    odd = mine[:45].copy()
    odd[:, [bundle.preprocessor.names.index(name) for name in ("duration", "hot", "num_root")]] = 30_000
    made, clean = (adapt(bundle, each, 0.02) for each in (np.vstack([mine, odd]), mine))
    assert alerting(bundle, made, others) == pytest.approx(0.02, abs=0.01)
    assert alerting(bundle, clean, odd) > 0.85


def test_without_setting_aside_hidden_attacks_are_taken_for_usual(hybrid_bundle, network):
    mine, _ = network
    assert not adapt(hybrid_bundle, mine, 0.02, most_aside=0).set_aside.any()


def test_a_detector_without_a_sense_of_the_usual_gets_a_threshold_only(bundle, network):
    mine, others = network
    made = adapt(bundle, mine, 0.02)
    assert made.detector is bundle.detector
    assert 0.01 < alerting(bundle, made, others) < 0.045


def test_the_new_reference_is_of_these_flows(hybrid_bundle, network):
    made = adapt(hybrid_bundle, network[0], 0.02)
    assert made.reference.rows == len(network[0])
    at = hybrid_bundle.preprocessor.names.index("src_bytes")
    assert made.reference.benign_quantiles[at, 8] > 3 * hybrid_bundle.reference.benign_quantiles[at, 8]


def test_a_tail_that_goes_on_as_it_began_holds_nothing_odd():
    draws = np.random.default_rng(3).exponential(size=20_000)
    assert beyond_the_tail(expit(draws), 0.02).sum() <= 40


def test_what_stands_apart_from_the_tail_is_set_aside_up_to_a_share():
    draws = np.random.default_rng(3).exponential(size=20_000)
    few, many = (np.concatenate([draws, np.full(n, 14.0) + np.arange(n) / n]) for n in (200, 2000))
    assert beyond_the_tail(expit(few), 0.02)[20_000:].mean() > 0.88 and beyond_the_tail(expit(few), 0.02).sum() < 220
    assert beyond_the_tail(expit(many), 0.02).mean() <= 0.02


def test_flows_that_are_all_alike_are_not_set_aside():
    assert not beyond_the_tail(np.full(5000, 0.3), 0.02).any()


def expit(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def test_too_few_flows_and_impossible_shares_are_refused(settings, hybrid_bundle, network, tmp_path):
    with pytest.raises(InputError, match=r"900 flows are too few .* give at least 1,000"):
        adapt(hybrid_bundle, network[0][:900], 0.02)
    with pytest.raises(ConfigError, match=r"0\.5 of the flows cannot be set aside"):
        calibrate_bundle(settings, tmp_path / "flows.csv", "bob", most_aside=0.5)
    with pytest.raises(InputError, match="is not there"):
        calibrate_bundle(settings, tmp_path / "flows.csv", "bob")


def test_the_commands_calibrate_the_champion_list_what_was_set_aside_and_show_drift(
    settings, hybrid_bundle, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.setenv("NETWARDEN_WORKSPACE", str(ROOT))
    monkeypatch.setenv("NETWARDEN_HOME", str(settings.home))
    table = elsewhere.slice(0, 4000).arrow
    pa_csv.write_csv(table.select(list(hybrid_bundle.preprocessor.names)), tmp_path / "flows.csv")
    drift = CliRunner().invoke(app, ["drift", str(tmp_path / "flows.csv"), "--against", "benign", "--top", "3"])
    assert drift.exit_code == 0 and "src_bytes: " in drift.output and "drifted" in drift.output
    done = CliRunner().invoke(app, ["calibrate", str(tmp_path / "flows.csv"), "--set-aside", str(tmp_path / "odd.csv")])
    assert done.exit_code == 0, done.output
    assert "before" in done.output and "set aside as likely attacks" in done.output
    with (tmp_path / "odd.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert f"all {len(rows):,} rows set aside are in" in done.output
    with closing(open_registry(settings)) as registry:
        champion = registry.champion("nsl_kdd")
    assert champion is not None and champion.bundle_id != hybrid_bundle.bundle_id
    derived = load_bundle(settings.bundles_dir / champion.location)
    assert derived.manifest.derived_from == hybrid_bundle.bundle_id
    assert derived.manifest.change.startswith("calibrated on 4,000 flows of another network")
