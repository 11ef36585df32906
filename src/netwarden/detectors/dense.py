"""Matrix products whose result for a row never depends on the rows beside it, nor on the machine.

BLAS sums in an order that depends on how many rows there are and where a row stands among them. Inputs and weights are
therefore rounded to so few bits that float64 holds every product and every partial sum exactly: 21 bits of each input,
21 of each weight and 10 for up to 1024 inputs make 52. Then no order of summation matters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

INPUT_STEP = 2.0**-16
LARGEST_INPUT = 32.0
MAX_INPUTS = 1024
CHUNK_ROWS = 8192  # bounds what wide intermediate columns take

_WEIGHT_BITS = 20


def rounded_inputs(values: Floats) -> Floats:
    """Values to the nearest multiple of 2**-16, no larger than 32 in size."""
    return np.clip(np.rint(values / INPUT_STEP) * INPUT_STEP, -LARGEST_INPUT, LARGEST_INPUT)


def rounded_weights(weights: Floats) -> Floats:
    """Weights to 20 bits of the largest one."""
    largest = float(np.abs(weights).max(initial=0.0))
    if largest == 0:
        return weights
    step = 2.0 ** (np.ceil(np.log2(largest)) - _WEIGHT_BITS)
    return np.asarray(np.rint(weights / step) * step, np.float64)


def product(inputs: Floats, weights: Floats) -> Floats:
    """(rows, outputs) of rounded inputs (rows, at most 1024) and rounded weights (inputs, outputs), exact."""
    return inputs @ weights


def by_chunks(answer: Callable[[npt.NDArray[np.float32]], Floats], matrix: npt.NDArray[np.float32]) -> Floats:
    """Answers of a function of rows, so many rows at a time that memory stays bounded."""
    if len(matrix) <= CHUNK_ROWS:
        return answer(matrix)
    starts = range(0, len(matrix), CHUNK_ROWS)
    return np.concatenate([answer(matrix[start : start + CHUNK_ROWS]) for start in starts])
