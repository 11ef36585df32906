"""Ways of resampling are compared on the same rows, and test rows have no part in it."""

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.params import Params, ResampleParams, TrainParams, TransformParams
from netwarden.training.ablation import compare_resampling, resampling_table
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(
    transform=TransformParams(),
    train=TrainParams(
        threads=1, detector="boosted_trees", false_positive_budget=0.05, resample=ResampleParams(target_share=0.2)
    ),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
)


@pytest.fixture(scope="module")
def flows():
    made = make_table(4000, seed=5)
    attack = np.array(made.arrow["label"].to_pylist()) != "benign"
    return with_column(made, "rate", np.random.default_rng(1).normal(size=len(made)) + 3 * attack)


@pytest.fixture(scope="module")
def results(flows):
    return compare_resampling(flows, make_schema(), PARAMS, seeds=(1, 2))


def test_every_way_is_judged_over_every_seed(results):
    assert [result.method for result in results] == ["none", "class_weights", "smote", "smotenc"]
    for result in results:
        assert all(len(values) == 2 for values in result.figures.values())
        for heading in ("family macro-F1, seen", "recall, seen", "recall, held out"):
            assert all(0.4 < value <= 1 for value in result.figures[heading])
        assert max(result.figures["false positives"]) < 0.15 and min(result.figures["fit, s"]) > 0
    assert len({result.figures["family macro-F1, seen"] for result in results}) > 1


def test_the_table_has_a_row_per_way(results):
    lines = [line for line in resampling_table(results, "boosted_trees", 2).splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [result.method for result in results]
    assert len({line.count("|") for line in lines}) == 1


def test_test_rows_have_no_part_in_it(flows, results):
    tests = np.array(flows.arrow["split"].to_pylist()) == "test"
    labels = np.array(flows.arrow["label"].to_pylist(), dtype=object)
    labels[tests] = np.random.default_rng(0).permutation(labels[tests])
    again = compare_resampling(with_column(flows, "label", labels.tolist()), make_schema(), PARAMS, seeds=(1, 2))
    for each, other in zip(again, results, strict=True):
        assert {**each.figures, "fit, s": ()} == {**other.figures, "fit, s": ()}
