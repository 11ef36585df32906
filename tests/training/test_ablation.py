"""Ways of resampling are compared on the same rows, and test rows have no part in it."""

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.evaluation.split import assign_parts
from netwarden.settings import Params, ResampleParams, TrainParams, TransformParams
from netwarden.training.ablation import compare_resampling
from netwarden.training.rows import prepare
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(
    transform=TransformParams(),
    train=TrainParams(threads=1, false_positive_budget=0.05, resample=ResampleParams(target_share=0.2)),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
)


@pytest.fixture
def prepared():
    flows = make_table(4000, seed=5)
    attack = np.array(flows.arrow["label"].to_pylist()) != "benign"
    flows = with_column(flows, "rate", np.random.default_rng(1).normal(size=len(flows)) + 3 * attack)
    return prepare(flows, assign_parts(flows, make_schema(), PARAMS.transform), make_schema())


def test_every_way_is_judged_over_every_seed(prepared):
    preprocessor, rows = prepared
    results = compare_resampling(rows, preprocessor, PARAMS, seeds=(1, 2))
    assert [result.method for result in results] == ["none", "class_weights", "smote", "smotenc"]
    for result in results:
        assert len(result.family_macro_f1) == 2 and 0 < result.mean <= 1 and result.spread >= 0
        assert set(result.family_recall) == {"dos", "u2r"}
        assert result.false_positive_rate < 0.15 and result.fit_s > 0
    assert len({result.family_recall["u2r"] for result in results} | {result.mean for result in results}) > 1


def test_other_rows_may_be_judged(prepared):
    preprocessor, rows = prepared
    calm = rows.part("calibration")
    results = compare_resampling(rows, preprocessor, PARAMS, seeds=(1,), judged=calm)
    assert set(results[0].family_recall) == set(calm.families.tolist()) - {"benign"}
