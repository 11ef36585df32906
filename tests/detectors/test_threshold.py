"""Calibration keeps the order of rows, and the threshold keeps the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from netwarden.detectors.threshold import (
    BUDGETS,
    Calibration,
    Threshold,
    budget_of,
    choose_threshold,
    clopper_pearson,
    fit_calibration,
)
from netwarden.errors import ConfigError, TrainingError


def overconfident(rows=20_000, seed=1):
    """Raw scores and labels of a detector whose log-odds are three times too large, and off by one."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(0, 2, rows)
    labels = (draw.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.int8)
    return 1 / (1 + np.exp(-(3 * truth + 1))), labels


def test_calibrated_scores_read_as_probabilities():
    raw, labels = overconfident()
    scores = fit_calibration(raw, labels).apply(raw)
    for low in np.arange(0.1, 0.9, 0.1):
        inside = (scores >= low) & (scores < low + 0.1)
        assert abs(labels[inside].mean() - scores[inside].mean()) < 0.04


def test_calibration_undoes_a_known_distortion():
    fitted = fit_calibration(*overconfident(200_000))
    assert fitted.slope == pytest.approx(1 / 3, abs=0.01)
    assert fitted.intercept == pytest.approx(-1 / 3, abs=0.05)


@given(
    st.lists(st.floats(-12, 12, width=32), min_size=2, max_size=50, unique=True),
    st.floats(0.05, 1.5),
    st.floats(-5, 5),
)
def test_calibration_is_strictly_monotone(log_odds, slope, intercept):
    raw = 1 / (1 + np.exp(-np.sort(np.round(np.array(log_odds, np.float64), 5))))
    raw = np.unique(raw)
    scores = Calibration(slope=slope, intercept=intercept, rows=1).apply(raw)
    assert np.all(np.diff(scores) > 0)
    assert scores.min() >= 0 and scores.max() <= 1


def test_certain_raw_scores_stay_finite_and_in_order():
    scores = Calibration(slope=2.0, intercept=0.0, rows=1).apply(np.array([0.0, 1e-320, 0.5, 1.0]))
    assert np.isfinite(scores).all() and np.all(np.diff(scores) >= 0) and scores.dtype == np.float64


def test_perfectly_separated_rows_still_calibrate():
    raw = np.array([0.001] * 50 + [0.999] * 50)
    scores = fit_calibration(raw, np.repeat([0, 1], 50).astype(np.int8)).apply(raw)
    assert 0 < scores[0] < 0.1 and 0.9 < scores[-1] < 1


@pytest.mark.parametrize("label", [0, 1])
def test_calibration_needs_both_classes(label):
    with pytest.raises(TrainingError, match="calibration needs benign and attack rows; it was given"):
        fit_calibration(np.array([0.1, 0.9]), np.full(2, label, np.int8))


def test_calibration_refuses_a_detector_that_ranks_attacks_below_benign_rows():
    raw, labels = overconfident(1000)
    with pytest.raises(TrainingError, match="attacks score no higher than benign rows on 1000 held-out rows"):
        fit_calibration(1 - raw, labels)


def test_the_threshold_spends_the_budget_and_no_more():
    scores = np.random.default_rng(1).random(10_000)
    chosen = choose_threshold(scores, 0.03)
    assert chosen.budget == 0.03 and chosen.rows == 10_000
    assert np.mean(scores >= chosen.value) == chosen.realised == 0.03


@given(
    st.lists(st.sampled_from([0.0, 1e-12, 0.1, 0.5, np.nextafter(0.5, 1), 0.9]), min_size=1, max_size=60),
    st.floats(0.001, 0.999),
)
def test_no_ties_break_the_budget_and_no_lower_threshold_would_keep_it(scores, budget):
    benign = np.array(scores)
    chosen = choose_threshold(benign, budget)
    assert 0 < chosen.value <= 1
    assert np.mean(benign >= chosen.value) == chosen.realised <= budget + 1e-9
    lower = benign[benign < chosen.value]
    assert not len(lower) or np.mean(benign >= lower.max()) > budget


@pytest.mark.parametrize(("budget", "rows", "alerts"), [(0.07, 100, 7), (0.29, 100, 29), (0.01, 100, 1), (0.01, 99, 0)])
def test_a_budget_that_is_a_whole_number_of_rows_is_spent_in_full(budget, rows, alerts):
    assert choose_threshold(np.linspace(0, 0.9, rows), budget).realised == pytest.approx(alerts / rows)


def test_the_table_lists_every_budget_with_falling_thresholds():
    table = choose_threshold(np.random.default_rng(2).random(5000), 0.025).table
    assert [row.budget for row in table] == sorted({*BUDGETS[BUDGETS.index(0.0002) :], 0.025})
    assert np.all(np.diff([row.threshold for row in table]) <= 0)  # 0.02 % and 0.03 % of 5000 are one row both
    for row in table:
        assert row.interval[0] <= row.realised <= row.interval[1]
        assert row.realised <= row.budget


def test_a_moved_threshold_is_that_of_the_next_budget_that_is_no_larger():
    chosen = choose_threshold(np.random.default_rng(2).random(5000), 0.03)
    moved = chosen.moved(0.012)
    row = next(row for row in chosen.table if row.budget == 0.01)
    assert (moved.budget, moved.value, moved.realised, moved.interval) == (0.012, row.threshold, 0.01, row.interval)
    assert moved.table == chosen.table and moved.moved(0.03) == chosen


def test_a_budget_that_the_rows_cannot_tell_is_refused():
    chosen = choose_threshold(np.random.default_rng(2).random(500), 0.03)
    with pytest.raises(
        ConfigError, match=r"0\.0010% is below .* 500 benign flows, which tell budgets from 0\.2000% on"
    ):
        chosen.moved(0.00001)


def test_alerts_a_day_are_a_share_of_the_days_benign_flows():
    assert budget_of(500, 1_000_000) == 0.0005
    with pytest.raises(ConfigError, match="2000 false alerts a day of 1000 benign flows are no budget"):
        budget_of(2000, 1000)


def test_the_interval_holds_the_true_rate_about_as_often_as_it_says():
    draw = np.random.default_rng(3)
    intervals = [clopper_pearson(int(hits), 500) for hits in draw.binomial(500, 0.02, 2000)]
    assert np.mean([low <= 0.02 <= high for low, high in intervals]) >= 0.95


@pytest.mark.parametrize(("hits", "rows"), [(0, 10), (10, 10), (3, 1000)])
def test_the_interval_is_that_of_clopper_and_pearson(hits, rows):
    theirs = binomtest(hits, rows).proportion_ci(0.95, method="exact")
    assert clopper_pearson(hits, rows) == pytest.approx((theirs.low, theirs.high))


def test_no_benign_rows_are_refused():
    with pytest.raises(TrainingError, match="no benign rows were set aside"):
        choose_threshold(np.array([]), 0.01)


def test_benign_rows_that_all_score_1_are_refused():
    with pytest.raises(TrainingError, match=r"more than 1\.00% of benign rows score 1: no threshold keeps"):
        choose_threshold(np.ones(5), 0.01)


def test_threshold_and_calibration_survive_json_exactly():
    raw, labels = overconfident(3000)
    calibration = fit_calibration(raw, labels)
    threshold = choose_threshold(calibration.apply(raw[labels == 0]), 0.01)
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
    assert Threshold.model_validate_json(threshold.model_dump_json()) == threshold


def test_what_each_budget_finds_is_said_beside_it_and_kept_when_the_threshold_moves():
    quiet = np.linspace(0, 0.5, 2001)
    threshold = choose_threshold(quiet, 0.01).with_recall(np.array([0.1, 0.499, 0.6, 0.9]))
    by_budget = {row.budget: row.recall for row in threshold.table}
    assert by_budget[0.01] == 0.75
    assert by_budget[0.001] == 0.5
    assert threshold.moved(0.001).table == threshold.table
    assert all(row.recall is None for row in choose_threshold(quiet, 0.01).table)
