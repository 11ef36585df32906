"""Products are exact, so that no order of summation and no neighbouring row can change them."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.detectors.dense import LARGEST_INPUT, product, rounded_inputs, rounded_weights


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 60), st.integers(0, 10**6))
def test_a_row_is_the_same_alone_and_among_others(rows, inputs, seed):
    draw = np.random.default_rng(seed)
    values = rounded_inputs(draw.normal(0, 10, (rows, inputs)))
    weights = rounded_weights(draw.normal(0, 10.0 ** draw.integers(-3, 4), (inputs, 9)))
    whole = product(values, weights)
    np.testing.assert_array_equal(np.vstack([product(row[None], weights) for row in values]), whole)
    order = draw.permutation(inputs)
    np.testing.assert_array_equal(product(values[:, order], weights[order]), whole)


def test_a_sum_of_1024_largest_products_is_exact():
    values = rounded_inputs(np.full((1, 1024), LARGEST_INPUT - 2.0**-16))
    weights = rounded_weights(np.full((1024, 1), 0.1) + np.arange(1024)[:, None] * 1e-4)
    exact = sum(Fraction(a) * Fraction(b) for a, b in zip(values[0].tolist(), weights[:, 0].tolist(), strict=True))
    assert Fraction(product(values, weights)[0, 0].item()) == exact


def test_rounding_keeps_values_within_a_millionth_of_the_largest():
    weights = np.random.default_rng(0).normal(size=(50, 4))
    assert np.abs(rounded_weights(weights) - weights).max() < 1e-6 * np.abs(weights).max()
    np.testing.assert_array_equal(rounded_weights(np.zeros((2, 2))), np.zeros((2, 2)))
    assert rounded_inputs(np.array([1e9, -1e9, 1 / 3])) == pytest.approx([32, -32, 1 / 3], abs=2.0**-17)
