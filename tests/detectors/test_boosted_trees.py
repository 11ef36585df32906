"""What is particular to boosted trees."""

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.boosted_trees import BoostedTreesKind
from netwarden.errors import BundleError, TrainingError

KIND = BoostedTreesKind()


def fit(rows, seed=1, **params):
    return KIND.fit(rows, XgbClassifierParams(**params), seed, 1)


def test_the_score_is_what_xgboost_predicts(rows):
    detector = fit(rows)
    theirs = detector.binary.booster.inplace_predict(rows.matrix)
    np.testing.assert_allclose(detector.score(rows.matrix), theirs, rtol=1e-5, atol=1e-7)


def test_contributions_add_up_to_the_log_odds_of_the_score(rows):
    detector = fit(rows)
    scores = detector.score(rows.matrix)
    total = detector.contributions(rows.matrix)[:, 0].sum(axis=1)
    np.testing.assert_allclose(total, np.log(scores / (1 - scores)), atol=1e-4)


def test_the_params_of_the_card_reach_xgboost(rows):
    detector = fit(rows, n_estimators=7, max_depth=2, learning_rate=0.1)
    assert detector.binary.booster.num_boosted_rounds() == 7
    assert detector.family is not None and detector.family.booster.num_boosted_rounds() == 7
    assert max(tree.count("\t") for tree in "\n".join(detector.binary.booster.get_dump()).splitlines()) == 2


def test_scale_pos_weight_concerns_the_binary_head_only(rows):
    plain = fit(rows)
    weighted = fit(rows, scale_pos_weight=5.0)
    assert weighted.score(rows.matrix).mean() > plain.score(rows.matrix).mean()
    np.testing.assert_array_equal(weighted.family_codes(rows.matrix), plain.family_codes(rows.matrix))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_dept": 3, "lerning_rate": 1}, "XGBoost does not know: lerning_rate, max_dept"),
        ({"n_jobs": 2, "objective": "x"}, "sets n_jobs, objective, which the detector sets itself; remove it"),
        ({"gamma": -2}, "XGBoost refuses its parameters or rows: value -2 for Parameter min_split_loss"),
    ],
)
def test_params_that_cannot_be_meant_are_refused(rows, params, message):
    with pytest.raises(TrainingError, match=message):
        fit(rows, **params)


def test_another_seed_gives_other_trees_where_rows_are_drawn(rows):
    first, second = (fit(rows, seed, subsample=0.5) for seed in (1, 2))
    assert not np.array_equal(first.score(rows.matrix), second.score(rows.matrix))


def test_a_model_file_that_is_none_is_refused(tmp_path, rows):
    fit(rows).save(tmp_path)
    (tmp_path / "binary.ubj").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"binary\.ubj is not a model that this XGBoost reads"):
        KIND.load(tmp_path, 1)


def test_loading_sets_the_threads(tmp_path, rows):
    fit(rows).save(tmp_path)
    config = KIND.load(tmp_path, 3).binary.booster.save_config()
    assert '"nthread":"3"' in config
    assert KIND.load(tmp_path, 1).family is not None
