"""Logistic regression and what stacks it with a random forest."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from netwarden.detector_params import LogisticRegressionParams, RandomForestParams, StackingParams
from netwarden.detectors.logistic_regression import LogisticRegressionKind
from netwarden.detectors.scaling import MAX_CATEGORIES, fit_scaling
from netwarden.detectors.stacking import StackingKind
from netwarden.errors import TrainingError


def test_log_odds_are_those_of_scikit_learn(rows):
    ours = LogisticRegressionKind().fit(rows, LogisticRegressionParams(), seed=1, threads=1)
    columns = ours.scaling.columns(rows.matrix)
    theirs = LogisticRegression(tol=1e-3, max_iter=300).fit(columns, rows.attack)
    np.testing.assert_allclose(ours.log_odds(rows.matrix), theirs.decision_function(columns), atol=1e-3)
    attacks = rows.attack == 1
    families = LogisticRegression(tol=1e-3, max_iter=300).fit(columns[attacks], rows.families[attacks])
    named = np.array(ours.families)[ours.family_codes(rows.matrix)]
    assert np.mean(named == families.predict(columns)) > 0.999


def test_a_fit_that_has_not_converged_says_so_and_serves(rows, caplog):
    with caplog.at_level("WARNING"):
        LogisticRegressionKind().fit(rows, LogisticRegressionParams(max_iter=2), seed=1, threads=1)
    assert "stopped before it had converged" in caplog.text


def test_numbers_are_scaled_and_categories_have_a_column_each(rows):
    scaling = fit_scaling(rows.matrix, rows.categorical)
    columns = scaling.columns(rows.matrix)
    numbers = columns[:, : len(scaling.numbers)]
    moving = np.isfinite(scaling.deviations)
    np.testing.assert_allclose(numbers[:, moving].mean(axis=0), 0, atol=0.1)
    assert np.abs(numbers).max() <= 8 and not numbers[:, ~moving].any()
    one_hot = columns[:, len(scaling.numbers) :]
    assert set(np.unique(one_hot)) == {0.0, 1.0}
    assert np.isfinite(scaling.columns(np.full_like(rows.matrix[:2], np.nan))).all()


def test_only_frequent_categories_have_a_column():
    codes = np.repeat(np.arange(100, dtype=np.float32), np.arange(100, 0, -1))[:, None]
    scaling = fit_scaling(codes, (True,))
    np.testing.assert_array_equal(scaling.codes, np.arange(MAX_CATEGORIES))


def test_too_many_columns_are_refused():
    wide = np.tile(np.arange(64, dtype=np.float32)[:, None], 20)
    with pytest.raises(TrainingError, match="1280 columns after one-hot coding"):
        fit_scaling(wide, (True,) * 20)


def test_a_stack_weighs_both_detectors_by_rows_they_were_not_fitted_on(rows):
    params = StackingParams(folds=3, random_forest=RandomForestParams(n_estimators=20))
    stack = StackingKind().fit(rows, params, seed=1, threads=1)
    assert stack.forest_weight > 0 and stack.line_weight > 0
    votes, line = stack.forest.evidence(rows.matrix)[:, 0], stack.line.evidence(rows.matrix)[:, 0]
    expected = stack.forest_weight * votes + stack.line_weight * line + stack.intercept
    np.testing.assert_allclose(stack.evidence(rows.matrix)[:, 0], expected)


def test_rows_too_much_alike_to_be_held_out_are_refused(rows):
    same = np.concatenate([np.flatnonzero(rows.attack == 0)[:50], np.full(30, np.flatnonzero(rows.attack)[0])])
    with pytest.raises(TrainingError, match="1 distinct attack rows: a stack of 4 folds needs at least 8"):
        StackingKind().fit(rows.where(same), StackingParams(), seed=1, threads=1)
