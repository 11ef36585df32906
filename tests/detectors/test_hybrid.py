"""The hybrid's two kinds of evidence, how they are made comparable, and what each is good for."""

from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb

from netwarden.detector_params import BlendedTreesParams, HybridParams, XgbClassifierParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.blended_trees import fit_blend
from netwarden.detectors.hybrid import HybridKind
from netwarden.detectors.reconstruction import fit_reconstruction
from netwarden.detectors.surprise import MOST, fit_surprise
from netwarden.detectors.verdicts import name_alerts, nearest_families

SMALL = HybridParams(trees=BlendedTreesParams(boosters=4, n_estimators=10), family=XgbClassifierParams(n_estimators=10))


@pytest.fixture(scope="module")
def hybrid(rows):
    return HybridKind().fit(rows, SMALL, seed=1, threads=1)


@pytest.fixture(scope="module")
def benign(rows):
    return rows.where(rows.attack == 0)


@pytest.fixture(scope="module")
def related():
    """Flows in which two numbers rise together; floods are few packets with many bytes."""
    draw = np.random.default_rng(8)
    size = draw.normal(size=4000)
    matrix = np.column_stack([size, size, draw.normal(size=4000), draw.integers(0, 3, 4000), draw.normal(size=4000)])
    matrix[:, :2] += draw.normal(scale=0.05, size=(4000, 2))
    flood = np.arange(4000) % 4 == 0
    matrix[flood, 2] += 9
    matrix[flood & (matrix[:, 3] == 0), 4] += 9
    names = np.where(flood, np.where(matrix[:, 3] == 0, "second", "first"), "benign")
    families = np.where(flood, "dos", "benign")
    return FitRows.of(matrix.astype(np.float32), names, families, (False, False, False, True, False))


def broken(benign):
    """Benign rows of which the second number falls where the first one rises."""
    odd = np.array(benign)
    odd[:, 0] = np.where(np.abs(odd[:, 0]) < 0.8, 1.5, odd[:, 0])
    odd[:, 1] = -odd[:, 0]
    return odd


def test_any_number_of_threads_fits_the_same_bytes(rows, tmp_path):
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        HybridKind().fit(rows, SMALL, seed=1, threads=threads).save(folder)
    for path in (tmp_path / "1").iterdir():
        assert path.read_bytes() == (tmp_path / "3" / path.name).read_bytes(), path.name


def test_a_blend_of_one_booster_with_all_features_is_that_booster(rows):
    params = BlendedTreesParams(boosters=1, feature_share=1.0, n_estimators=8)
    data = xgb.QuantileDMatrix(rows.matrix, rows.attack, weight=rows.weights)
    plain = xgb.train(
        {"objective": "binary:logistic", "base_score": 0.5, "max_depth": params.max_depth, "seed": 3}, data, 8
    )
    expected = plain.inplace_predict(rows.matrix, predict_type="margin")
    np.testing.assert_array_equal(fit_blend(rows, params, seed=3, threads=1).margin(rows.matrix), expected)


def test_a_blend_is_the_mean_of_boosters_that_see_every_feature_about_as_often(rows):
    params = BlendedTreesParams(boosters=6, feature_share=0.5, n_estimators=5)
    blend = fit_blend(rows, params, seed=3, threads=1)
    assert blend.booster.num_boosted_rounds() == 30
    used = {name for name, times in blend.booster.get_score(importance_type="weight").items() if times}
    assert len(used) > 3
    np.testing.assert_allclose(blend.shares(rows.matrix).sum(axis=1), blend.margin(rows.matrix), atol=1e-4)


def test_surprise_is_minus_the_logarithm_of_the_share_of_benign_rows_with_as_much_evidence():
    draws = np.random.default_rng(4).exponential(size=50_000)
    surprise = fit_surprise(draws)
    np.testing.assert_allclose(surprise.of(np.array([0.1, 1.0, 3.0, 6.0])), [0.1, 1.0, 3.0, 6.0], rtol=0.05)
    np.testing.assert_allclose(surprise.of(np.array([30.0])), [30.0], rtol=0.25)
    assert surprise.of(np.array([-1.0, 1e9])).tolist() == [0.0, MOST]


def test_a_few_odd_benign_rows_hardly_move_the_surprise():
    draws = np.random.default_rng(4).exponential(size=10_000)
    dirty = np.concatenate([draws, np.full(3, 1e6)])
    at = np.array([1.0, 4.0, 8.0])
    np.testing.assert_allclose(fit_surprise(dirty).of(at), fit_surprise(draws).of(at), rtol=0.1)


def test_benign_rows_of_equal_evidence_surprise_nobody():
    surprise = fit_surprise(np.zeros(500))
    assert surprise.of(np.array([-1.0, 0.0])).tolist() == [0.0, 0.0]
    assert surprise.of(np.array([1.0])) > 0


def test_reconstruction_misses_what_goes_against_how_features_hang_together(related):
    benign = related.where(related.attack == 0).matrix
    fitted = fit_reconstruction(benign, related.categorical, 0.95)
    usual = np.quantile(fitted.missed(benign), 0.99)
    odd = broken(benign)
    assert (fitted.missed(odd) > usual).mean() > 0.9
    assert set(np.argmax(fitted.missed_by_feature(odd), axis=1)) <= {0, 1}


def test_what_is_missed_of_a_row_does_not_hang_on_its_neighbours(benign):
    fitted = fit_reconstruction(benign.matrix, benign.categorical, 0.9)
    alone = np.concatenate([fitted.missed(benign.matrix[at : at + 1]) for at in range(100)])
    np.testing.assert_array_equal(alone, fitted.missed(benign.matrix)[:100])


def test_attacks_of_training_are_known_and_flows_unlike_anything_are_novel(related):
    hybrid = HybridKind().fit(related, SMALL, seed=1, threads=1)
    benign, attacks = (related.matrix[related.attack == side] for side in (0, 1))
    alarm = np.quantile(hybrid.score(benign), 0.99)
    assert (hybrid.score(attacks) > alarm).all() and hybrid.known(attacks).all()
    odd = broken(benign)
    assert (hybrid.score(odd) > alarm).mean() > 0.8 and hybrid.known(odd).mean() < 0.05


def test_what_never_varies_on_another_network_is_odd_there_once_it_does(related):
    hybrid = HybridKind().fit(related, SMALL, seed=1, threads=1)
    calm = related.where(related.attack == 0).matrix.copy()
    calm[:, 2] = np.median(calm[:, 2])
    odd = calm.copy()
    odd[:, 2] = 1000 * (1 + np.abs(related.matrix[:, 2]).max())
    adapted = hybrid.adapted(calm)
    assert (adapted.score(odd) > np.quantile(adapted.score(calm), 0.99)).mean() > 0.9


def test_a_number_that_varies_among_attacks_alone_counts_where_that_is_asked_for(related):
    matrix = related.matrix.copy()
    matrix[related.attack == 0, 2] = 0.0
    rows = replace(related, matrix=matrix)
    odd = rows.where(rows.attack == 0).matrix.copy()
    odd[:, 2] = 1000.0
    for asked in (False, True):
        fitted = HybridKind().fit(rows, SMALL.model_copy(update={"scale_constants": asked}), seed=1, threads=1)
        missed = fitted.reconstruction.missed_by_feature(odd)[:, 2]
        assert (missed > 0).all() if asked else not missed.any()


def test_an_alert_called_novel_still_has_a_nearest_family(hybrid, rows):
    named, nearest = (each(hybrid, rows.matrix) for each in (name_alerts, nearest_families))
    assert "novel" in named and set(nearest) <= set(hybrid.families)
    known = named != "novel"
    np.testing.assert_array_equal(named[known], nearest[known])


def test_synthetic_rows_teach_the_family_head_alone(rows):
    grown = rows.where(np.concatenate([np.arange(len(rows)), np.flatnonzero(rows.families == "r2l")]))
    grown.grown[len(rows) :] = True
    plain, with_them = (HybridKind().fit(each, SMALL, 1, 1) for each in (rows, grown))
    np.testing.assert_array_equal(plain.score(rows.matrix), with_them.score(rows.matrix))


def test_adapted_to_another_network_its_usual_flows_are_no_news(related):
    hybrid = HybridKind().fit(related, SMALL, seed=1, threads=1)
    benign = related.matrix[related.attack == 0]
    threshold = np.quantile(hybrid.score(benign), 0.95)
    elsewhere = broken(benign)  # what would be odd here is usual in the other network
    before, after = (
        np.mean(each.score(elsewhere[1::2]) > threshold) for each in (hybrid, hybrid.adapted(elsewhere[::2]))
    )
    assert before > 0.8 and after < 0.15


def test_a_feature_that_is_always_missing_or_constant_does_no_harm(rows):
    odd = np.array(rows.matrix)
    odd[:, 6], odd[:, 7] = np.nan, 3.0
    hybrid = HybridKind().fit(replace(rows, matrix=odd), SMALL, 1, 1)
    assert np.isfinite(hybrid.score(odd)).all()
    np.testing.assert_allclose(hybrid.contributions(odd[:50]).sum(axis=2), hybrid.evidence(odd[:50]), atol=1e-4)
