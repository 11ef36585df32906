"""Reports and plot data of a bundle on rows that it never saw."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.bundle import TrainingFacts
from netwarden.errors import DataCheckError
from netwarden.evaluation.plots import class_report, plot_tables
from netwarden.evaluation.report import importance, most_wrong, outcome_of, subset_rows
from netwarden.evaluation.split import TEST, assign_parts
from netwarden.flows.schema import Subset
from netwarden.params import Params
from netwarden.scoring.scorer import Scorer
from netwarden.training.fit import fit_bundle
from netwarden.training.rows import prepare
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(xgb_classifier=XgbClassifierParams(n_estimators=10))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A bundle for flows whose rate tells most attacks, its test rows, and what it makes of them."""
    flows, schema = make_table(4000, seed=5), make_schema()
    attack = np.array(flows.arrow["label"].to_pylist()) != "benign"
    flows = with_column(flows, "rate", np.random.default_rng(1).normal(size=len(flows)) + 3 * attack)
    parts = assign_parts(flows, schema, PARAMS.transform)
    folder = tmp_path_factory.mktemp("scored") / "bundle"
    preprocessor, rows = prepare(flows, parts, schema)
    bundle = fit_bundle(folder, rows, preprocessor, schema, PARAMS, TrainingFacts())
    tests = replace(flows, arrow=flows.arrow.filter(parts == TEST))
    return bundle, tests, outcome_of(tests, Scorer(bundle, threads=1).score(tests))


def test_the_outcome_is_what_the_scorer_said(scored):
    bundle, tests, outcome = scored
    assert (outcome.alerts == (outcome.scores >= bundle.threshold)).all()
    assert set(outcome.predicted[~outcome.alerts]) == {"benign"}
    assert set(outcome.predicted[outcome.alerts]) <= {"dos", "u2r"}
    assert len(outcome) == len(tests)


def test_alerts_without_a_family_are_predicted_as_attack_or_novel(scored):
    _, tests, _ = scored
    verdicts = ["known_attack", "novel"] * len(tests)
    answer = pa.table(
        {
            "score": np.ones(len(tests)),
            "threshold": np.full(len(tests), 0.5),
            "verdict": verdicts[: len(tests)],
            "family": pa.nulls(len(tests), pa.string()),
        }
    )
    assert outcome_of(tests, answer).predicted[:3].tolist() == ["attack", "novel", "attack"]


def test_the_feature_that_tells_attacks_is_the_most_important_one(scored):
    bundle, tests, _ = scored
    figures = importance(bundle, tests, rows=400, seed=1)
    assert figures["feature"].to_pylist()[0] == "rate"
    by_permutation = dict(zip(figures["feature"].to_pylist(), figures["permutation"].to_pylist(), strict=True))
    assert by_permutation["rate"] == max(by_permutation.values()) > 0.1


def test_the_most_wrong_rows_are_wrong_and_the_surest_stand_first(scored):
    _, tests, outcome = scored
    rows = most_wrong(tests, outcome, make_schema(), limit=20)
    assert 0 < len(rows) <= 20
    wrongness = [row["score"] if row["family"] == "benign" else 1 - row["score"] for row in rows]
    assert wrongness == sorted(wrongness, reverse=True)
    assert all((row["family"] == "benign") != (row["predicted"] == "benign") for row in rows)
    assert rows[0]["source_file"] == "toy.csv"
    assert {"bytes", "rate", "service"} <= set(rows[0])


def test_every_plot_has_its_columns_and_shares_stay_shares(scored):
    _, _, outcome = scored
    tables = plot_tables(outcome)
    assert {name: table.column_names for name, table in tables.items()} == {
        "confusion": ["actual", "predicted"],
        "roc": ["x", "y", "family"],
        "precision_recall": ["x", "y", "family"],
        "calibration": ["score", "attack_share", "rows"],
        "family_recall": ["family", "recall", "rows"],
        "scores": ["x", "y", "family"],
    }
    assert set(tables["roc"]["family"].to_pylist()) == {"all attacks", "dos", "u2r"}
    for name in ("roc", "precision_recall", "scores"):
        for axis in ("x", "y"):
            values = tables[name][axis].to_numpy()
            assert ((values >= 0) & (values <= 1)).all()
    assert sum(tables["calibration"]["rows"].to_pylist()) == len(outcome)


def test_plots_of_rows_without_attacks_are_empty_and_not_an_error(scored):
    _, _, outcome = scored
    tables = plot_tables(outcome.where(~outcome.attack))
    assert (tables["roc"].num_rows, tables["family_recall"].num_rows) == (0, 0)
    assert set(tables["scores"]["family"].to_pylist()) == {"benign"}


def test_the_class_report_counts_every_row(scored):
    _, _, outcome = scored
    assert class_report(outcome)["macro avg"]["support"] == len(outcome)


def test_a_subset_is_the_rows_whose_column_does_not_hold_the_value(scored):
    _, tests, _ = scored
    schema = make_schema().model_copy(update={"subsets": {"no_web": Subset(column="service", not_equal="http")}})
    rows = subset_rows(tests, schema)["no_web"]
    assert (rows == (np.array(tests.arrow["service"].to_pylist()) != "http")).all()


def test_a_subset_without_rows_says_so(scored):
    _, tests, _ = scored
    schema = make_schema().model_copy(update={"subsets": {"calm": Subset(column="service", not_equal="http")}})
    only_web = with_column(tests, "service", ["http"] * len(tests))
    with pytest.raises(DataCheckError, match="subset calm of schema toy holds no test row: service is always http"):
        subset_rows(only_web, schema)
