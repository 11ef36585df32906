"""What the bundle remembers of its training rows."""

from dataclasses import fields

import numpy as np
import pytest

from netwarden.detectors.reference import BENIGN_LEVELS, LEVELS, describe_training, load_reference
from netwarden.errors import BundleError
from netwarden.features.preprocessor import FeatureColumn, Preprocessor
from tests.fixtures.data import ROOT

COLUMNS = (
    FeatureColumn("bytes", "int"),
    FeatureColumn("proto", "string", categories=("tcp", "udp")),
    FeatureColumn("never", "float"),
)
MATRIX = np.array([[1, 0, np.nan], [3, 0, np.nan], [np.nan, -1, np.nan], [5, np.nan, np.nan]], np.float32)


@pytest.fixture
def reference():
    attack = np.array([0, 0, 1, 1], np.int8)
    quiet = np.array([0.0, 0.01, 0.03])
    return describe_training(MATRIX, attack, np.array([0.0, 0.01, 0.99, 1.0]), quiet, Preprocessor("small", COLUMNS))


def test_numbers_are_kept_as_quantiles_of_the_values_present(reference):
    np.testing.assert_allclose(reference.quantiles[0], np.quantile([1, 3, 5], LEVELS))
    assert np.isnan(reference.quantiles[1:]).all()


def test_categories_are_counted_the_unknown_first(reference):
    assert reference.category_ends.tolist() == [0, 3, 3]
    assert reference.category_counts.tolist() == [1, 2, 0]


def test_missing_values_and_scores_are_counted(reference):
    assert reference.missing.tolist() == [0.25, 0.25, 1.0]
    assert reference.rows == reference.score_counts.sum() == 4
    assert reference.score_counts[0] == reference.score_counts[-1] == 2


def test_benign_rows_are_described_by_themselves(reference):
    np.testing.assert_allclose(reference.benign_quantiles[0], np.quantile([1, 3], BENIGN_LEVELS))
    assert reference.benign_category_counts.tolist() == [0, 2, 0]
    assert reference.benign_score_counts[:3].tolist() == [2, 1, 0]


def test_a_reference_of_format_1_says_nothing_about_benign_rows():
    old = load_reference(ROOT / "tests" / "data" / "bundle-v1" / "reference.npz", 1)
    assert old.benign_quantiles.shape == (41, len(BENIGN_LEVELS)) and np.isnan(old.benign_quantiles).all()
    assert not old.benign_category_counts.any() and not old.benign_score_counts.any()


def test_the_reference_survives_its_file(reference, tmp_path):
    reference.save(tmp_path / "reference.npz")
    loaded = load_reference(tmp_path / "reference.npz", 2)
    assert loaded.rows == 4
    for field in fields(loaded):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(reference, field.name))


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "reference.npz").write_bytes(b"")
    with pytest.raises(BundleError, match=r"reference\.npz cannot be read as plain arrays"):
        load_reference(tmp_path / "reference.npz", 2)
