"""What training data looked like: the yardstick of drift, kept in the bundle as `reference.npz`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Matrix, Scores
from netwarden.features.arrays import read_arrays, write_arrays
from netwarden.features.preprocessor import UNKNOWN_CODE, Preprocessor

LEVELS = np.linspace(0.0, 1.0, 33)
SCORE_EDGES = np.linspace(0.0, 1.0, 51)


@dataclass(frozen=True)
class Reference:
    """Distributions of training rows, before resampling.

    `quantiles` (features, 33): the numbers at LEVELS, NaN for categories and for columns that were always missing.
    `missing` (features,): share of missing values.
    `category_counts`: rows per category, columns one after another, each led by its unknown ones; `category_ends`
    (features,): where each column's counts end (numbers have none).
    `score_counts` (50,): rows per SCORE_EDGES bin of the calibrated score. `rows`: how many there were.
    """

    quantiles: npt.NDArray[np.float64]
    missing: npt.NDArray[np.float64]
    category_counts: npt.NDArray[np.int64]
    category_ends: npt.NDArray[np.int64]
    score_counts: npt.NDArray[np.int64]
    rows: int

    def save(self, path: Path) -> None:
        """Write `reference.npz`; equal references give equal bytes."""
        write_arrays(path, {name: np.asarray(getattr(self, name)) for name in _FIELDS})


_FIELDS = ("quantiles", "missing", "category_counts", "category_ends", "score_counts", "rows")


def describe_training(matrix: Matrix, scores: Scores, preprocessor: Preprocessor) -> Reference:
    """Reference of a matrix and of its calibrated scores."""
    counts = [
        _category_counts(matrix[:, position], len(column.categories)) if column.categorical else np.zeros(0, np.int64)
        for position, column in enumerate(preprocessor.columns)
    ]
    quantiles = [
        np.full(len(LEVELS), np.nan) if column.categorical else _quantiles(matrix[:, position])
        for position, column in enumerate(preprocessor.columns)
    ]
    return Reference(
        quantiles=np.array(quantiles, np.float64).reshape(len(counts), len(LEVELS)),
        missing=np.isnan(matrix).mean(axis=0, dtype=np.float64),
        category_counts=np.concatenate([np.zeros(0, np.int64), *counts]),
        category_ends=np.cumsum([len(each) for each in counts], dtype=np.int64),
        score_counts=np.histogram(scores, SCORE_EDGES)[0].astype(np.int64),
        rows=len(matrix),
    )


def load_reference(path: Path) -> Reference:
    """Reference that `save` wrote. Raises BundleError where the file is damaged."""
    arrays: dict[str, Any] = read_arrays(path, _FIELDS)
    return Reference(**{**arrays, "rows": int(arrays["rows"])})


def _category_counts(codes: npt.NDArray[np.float32], categories: int) -> npt.NDArray[np.int64]:
    present = codes[~np.isnan(codes)].astype(np.int64)
    return np.bincount(present - UNKNOWN_CODE, minlength=categories + 1).astype(np.int64)


def _quantiles(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    present = values[~np.isnan(values)]
    return np.quantile(present, LEVELS).astype(np.float64) if len(present) else np.full(len(LEVELS), np.nan)
