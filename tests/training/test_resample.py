"""Rare families come to count, and given rows stay as they are."""

from dataclasses import replace

import numpy as np
import pytest

from netwarden.detectors.base import FitRows
from netwarden.params import ResampleParams
from netwarden.training.resample import resample

CATEGORICAL = (False, True, False, True)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    labels = np.array(["benign"] * 500 + ["neptune"] * 300 + ["rootkit"] * 4 + ["perl"] * 2)
    families = np.array(["benign"] * 500 + ["dos"] * 300 + ["u2r"] * 6)
    matrix = np.column_stack(
        [rng.normal(size=806), rng.integers(0, 4, 806), rng.normal(size=806), rng.integers(0, 9, 806)]
    )
    return FitRows.of(matrix.astype(np.float32), labels, families, CATEGORICAL)


def grow(rows, method="smotenc", share=0.1, seed=1):
    return resample(rows, ResampleParams(method=method, target_share=share), seed)


def counts(names):
    return dict(zip(*np.unique(names, return_counts=True), strict=True))


@pytest.mark.parametrize("method", ["smote", "smotenc"])
def test_a_rare_family_grows_to_its_share_of_the_largest_and_no_other_changes(rows, method):
    grown = grow(rows, method)
    assert counts(grown.families) == {"benign": 500, "dos": 300, "u2r": 50}
    assert grown.matrix.dtype == np.float32
    np.testing.assert_array_equal(grown.matrix[:806], rows.matrix)
    assert not grown.grown[:806].any() and grown.grown[806:].all()


def test_grown_rows_bear_the_name_of_the_attack_they_are_drawn_from(rows):
    grown = grow(rows)
    assert counts(grown.labels) == {"benign": 500, "neptune": 300, "rootkit": 33, "perl": 17}
    perl, own = grown.matrix[grown.labels == "perl"], rows.matrix[rows.labels == "perl"]
    assert ((own.min(axis=0) <= perl) & (perl <= own.max(axis=0))).all()


def test_smotenc_makes_only_categories_that_the_attack_has(rows):
    matrix = grow(rows).matrix
    assert set(matrix[806:, 1]) <= set(rows.matrix[800:, 1])


def test_the_same_seed_grows_the_same_rows(rows):
    np.testing.assert_array_equal(grow(rows).matrix, grow(rows).matrix)
    assert (grow(rows).matrix[806:] != grow(rows, seed=2).matrix[806:]).any()


def test_missing_values_stay_in_given_rows_and_are_never_numbers_out_of_nowhere(rows):
    rows.matrix[::7, 0] = np.nan
    rows.matrix[800:803, 1] = np.nan
    grown = grow(rows).matrix
    np.testing.assert_array_equal(grown[:806], rows.matrix)
    assert not np.isnan(grown[806:, 0]).any()
    assert np.isnan(grown[806:, 1]).any()  # a missing category is one of the attack's categories


def test_method_none_and_families_that_cannot_grow_change_nothing(rows):
    assert grow(rows, "none") is rows
    lonely = rows.where(np.arange(806) < 801)  # a family of one row has no neighbour
    assert len(grow(lonely)) == 801


def test_an_attack_of_one_row_stays_alone_while_its_family_grows(rows):
    lonely = rows.where(np.arange(806) < 805)
    assert counts(grow(lonely).labels) == {"benign": 500, "neptune": 300, "rootkit": 49, "perl": 1}


def test_class_weights_let_a_rare_family_weigh_its_share_of_the_largest(rows):
    weighted = grow(rows, "class_weights")
    assert weighted.matrix is rows.matrix
    assert weighted.weights[rows.families == "u2r"].sum() == pytest.approx(50)
    assert (weighted.weights[rows.families != "u2r"] == 1).all()
    again = grow(replace(rows, weights=np.full(806, 2, np.float32)), "class_weights")
    np.testing.assert_allclose(again.weights, 2 * weighted.weights)
