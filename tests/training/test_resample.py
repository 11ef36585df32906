"""Rare families grow, given rows stay as they are."""

import numpy as np
import pytest

from netwarden.settings import ResampleParams
from netwarden.training.resample import grow_families

CATEGORICAL = (False, True, False, True)


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    families = np.array(["benign"] * 500 + ["dos"] * 300 + ["u2r"] * 6)
    matrix = np.column_stack(
        [rng.normal(size=806), rng.integers(0, 4, 806), rng.normal(size=806), rng.integers(0, 9, 806)]
    )
    return matrix.astype(np.float32), families


def grow(rows, method="smotenc", share=0.1, seed=1):
    params = ResampleParams(method=method, target_share=share)
    matrix, families = rows
    return grow_families(matrix, families, CATEGORICAL, params, seed)


@pytest.mark.parametrize("method", ["smote", "smotenc"])
def test_a_rare_family_grows_to_its_share_of_the_largest_and_no_other_changes(rows, method):
    matrix, families = grow(rows, method)
    assert dict(zip(*np.unique(families, return_counts=True), strict=True)) == {"benign": 500, "dos": 300, "u2r": 50}
    assert matrix.dtype == np.float32
    assert (matrix[:806] == rows[0]).all()


def test_smotenc_makes_only_categories_that_the_family_has(rows):
    matrix, _ = grow(rows)
    assert set(matrix[806:, 1]) <= set(rows[0][800:, 1])


def test_the_same_seed_grows_the_same_rows(rows):
    assert (grow(rows)[0] == grow(rows)[0]).all()
    assert (grow(rows)[0][806:] != grow(rows, seed=2)[0][806:]).any()


def test_missing_values_stay_in_given_rows_and_are_never_numbers_out_of_nowhere(rows):
    matrix, families = rows
    matrix[::7, 0] = np.nan
    matrix[800:803, 1] = np.nan
    grown, _ = grow((matrix, families))
    assert np.array_equal(grown[:806], matrix, equal_nan=True)
    assert not np.isnan(grown[806:, 0]).any()
    assert np.isnan(grown[806:, 1]).any()  # a missing category is one of the family's categories


def test_method_none_and_families_that_cannot_grow_change_nothing(rows):
    assert grow(rows, "none")[0] is rows[0]
    lonely = rows[0][:801], rows[1][:801]  # a family of one row has no neighbour
    assert len(grow(lonely)[0]) == 801
