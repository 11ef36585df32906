"""Protocols are carried out on every model over every seed, and their figures add up."""

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.errors import DataCheckError
from netwarden.evaluation.protocols import protocol_of
from netwarden.flows.schema import Subset
from netwarden.params import Params, ResampleParams, TrainParams, TransformParams
from netwarden.training.baselines import BASELINES, thresholds_of
from netwarden.training.experiment_table import experiment_table
from netwarden.training.experiments import BUDGETS, run_protocol, where_attacks_are_rare
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(
    transform=TransformParams(),
    train=TrainParams(threads=1, detector="boosted_trees", resample=ResampleParams(method="none")),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
)
SUBSETS = {"not_http": Subset(column="service", not_equal="http")}


@pytest.fixture(scope="module")
def flows():
    """Flows in which the rate tells most attacks; smurf is known to the test rows only."""
    made = make_table(4000, seed=5)
    labels = np.array(made.arrow["label"].to_pylist())
    splits = np.where(labels == "smurf", "test", np.array(made.arrow["split"].to_pylist()))
    made = with_column(made, "split", splits.tolist())
    return with_column(made, "rate", np.random.default_rng(1).normal(size=len(made)) + 3 * (labels != "benign"))


@pytest.fixture(scope="module")
def results(flows):
    schema = make_schema().model_copy(update={"subsets": SUBSETS})
    return run_protocol(protocol_of("official"), flows, schema, PARAMS, seeds=(1, 2))


def by_model(results, held_out=""):
    return {result.model: result.figures for result in results if result.held_out == held_out}


def test_trivial_models_stand_beside_the_detector_on_all_rows_and_on_each_subset(results):
    assert list(by_model(results)) == ["boosted_trees", *BASELINES]
    assert list(by_model(results, "not_http")) == ["boosted_trees", *BASELINES]
    whole, subset = (next(r for r in results if r.held_out == name) for name in ("", "not_http"))
    assert subset.rows < whole.rows


def test_a_larger_budget_buys_more_recall_for_more_false_positives(results):
    found = by_model(results)["boosted_trees"]
    for name in ("recall", "false_positive_rate", "recall_seen_attacks", "recall_unseen_attacks"):
        means = [found[f"{name}@{budget:g}"].mean for budget in BUDGETS]
        assert means == sorted(means)
    assert found["recall@0.05"].mean > 0.7
    assert found["false_positive_rate@0.05"].mean == pytest.approx(0.05, abs=0.03)


def test_intervals_hold_the_mean_and_figures_have_one_value_a_seed(results):
    for result in results:
        for name, figure in result.figures.items():
            assert len(figure.each) == 2 and figure.spread >= 0
            if figure.interval:
                assert figure.interval[0] - 1e-9 <= figure.mean <= figure.interval[1] + 1e-9, name
    trees = by_model(results)["boosted_trees"]
    assert all(trees[f"{name}_at_0.01@0.05"].interval for name in ("precision", "alerts_per_day"))
    recall = trees["recall@0.05"]
    assert recall.interval is not None and 0.005 < recall.interval[1] - recall.interval[0] < 0.2


def test_the_majority_never_alerts_and_the_best_feature_is_found(results):
    found = by_model(results)
    assert found["majority"]["recall@0.05"].mean == found["majority"]["false_positive_rate@0.05"].mean == 0
    assert "precision_at_0.01@0.05" not in found["majority"]
    assert found["best feature"]["roc_auc@0.05"].mean > 0.9


def test_a_budget_that_no_threshold_keeps_means_no_alert():
    assert thresholds_of(np.ones(100), (0.01,))[0.01] > 1
    assert thresholds_of(np.append(np.ones(1), np.zeros(99)), (0.01,))[0.01] < 1


def test_the_same_seeds_give_the_same_figures(flows, results):
    schema = make_schema().model_copy(update={"subsets": SUBSETS})
    again = run_protocol(protocol_of("official"), flows, schema, PARAMS, (1, 2), models=("boosted_trees",))
    mine, theirs = (by_model(each)["boosted_trees"] for each in (results, again))
    assert {name: figure for name, figure in mine.items() if name != "fit_s"} == {
        name: figure for name, figure in theirs.items() if name != "fit_s"
    }


def test_an_attack_left_out_is_unseen(flows):
    results = run_protocol(protocol_of("leave-attack-out"), flows, make_schema(), PARAMS, (1,), ("boosted_trees",))
    assert {result.held_out for result in results} == {"neptune", "rootkit"}  # smurf: test rows only
    for result in results:
        assert result.figures["recall@0.05"].each == result.figures["recall_unseen_attacks@0.05"].each
        assert "recall_seen_attacks@0.05" not in result.figures


def test_a_protocol_that_leaves_no_rows_to_judge_by_is_refused(flows):
    one = flows.arrow["label"].to_pylist()
    few = with_column(flows, "label", ["neptune" if label == "rootkit" else label for label in one])
    with pytest.raises(DataCheckError, match="leave-attack-out finds nothing to hold out"):
        run_protocol(protocol_of("leave-attack-out"), few, make_schema(), PARAMS, (1,))


def test_precision_and_alerts_follow_from_how_rare_attacks_are():
    recall, rate = np.array([0.9, 0.9, 0.0, 1.0]), np.array([0.01, 0.0, 0.0, 0.01])
    found = where_attacks_are_rare(recall, rate, 900_000)
    assert found["precision_at_0.001"] == pytest.approx([0.0826, 1, np.nan, 0.0910], abs=1e-4, nan_ok=True)
    assert found["alerts_per_day_at_0.1"][3] == pytest.approx(109_000)


def test_the_table_has_a_row_per_model_and_says_what_is_missing(results):
    table = experiment_table(protocol_of("official"), results, 0.01, seeds=2)
    lines = [line for line in table.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(results) and len({line.count("|") for line in lines}) == 1
    assert "Mean over 2 seeds" in table and "| majority |" in table and "| - |" in table
