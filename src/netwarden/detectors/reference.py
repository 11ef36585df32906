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
BENIGN_LEVELS = np.array([0, 0.001, 0.01, 0.05, *np.arange(1, 10) / 10, 0.95, 0.99, 0.999, 1])
SCORE_EDGES = np.linspace(0.0, 1.0, 51)


@dataclass(frozen=True)
class Reference:
    """Distributions of training rows, before resampling, and of the benign ones among them.

    `quantiles` (features, 33): the numbers at LEVELS, NaN for categories and for columns that were always missing;
    `benign_quantiles` (features, 17): those of benign rows at BENIGN_LEVELS.
    `missing` (features,): share of missing values.
    `category_counts`: rows per category, columns one after another, each led by its unknown ones; `category_ends`
    (features,): where each column's counts end (numbers have none). `benign_category_counts`: benign rows alike.
    `score_counts` (50,): rows per SCORE_EDGES bin of the calibrated score; `benign_score_counts`: benign rows that were
    set aside for the threshold, alike. `rows`: how many rows there were.
    A bundle of format 1 says nothing about benign rows: NaN, and no counts.
    """

    quantiles: npt.NDArray[np.float64]
    missing: npt.NDArray[np.float64]
    category_counts: npt.NDArray[np.int64]
    category_ends: npt.NDArray[np.int64]
    score_counts: npt.NDArray[np.int64]
    rows: int
    benign_quantiles: npt.NDArray[np.float64]
    benign_category_counts: npt.NDArray[np.int64]
    benign_score_counts: npt.NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write `reference.npz`; equal references give equal bytes."""
        write_arrays(path, {name: np.asarray(getattr(self, name)) for name in _FIELDS})


_FIELDS_1 = ("quantiles", "missing", "category_counts", "category_ends", "score_counts", "rows")
_FIELDS = (*_FIELDS_1, "benign_quantiles", "benign_category_counts", "benign_score_counts")


def describe_training(
    matrix: Matrix, attack: npt.NDArray[np.int8], scores: Scores, quiet_scores: Scores, preprocessor: Preprocessor
) -> Reference:
    """Reference of rows to fit on, with their calibrated scores and those of benign rows set aside."""
    counts = _counts_by_column(matrix, preprocessor)
    benign = matrix[attack == 0]
    return Reference(
        quantiles=_quantiles_by_column(matrix, preprocessor, LEVELS),
        missing=np.isnan(matrix).mean(axis=0, dtype=np.float64),
        category_counts=np.concatenate([np.zeros(0, np.int64), *counts]),
        category_ends=np.cumsum([len(each) for each in counts], dtype=np.int64),
        score_counts=np.histogram(scores, SCORE_EDGES)[0].astype(np.int64),
        rows=len(matrix),
        benign_quantiles=_quantiles_by_column(benign, preprocessor, BENIGN_LEVELS),
        benign_category_counts=np.concatenate([np.zeros(0, np.int64), *_counts_by_column(benign, preprocessor)]),
        benign_score_counts=np.histogram(quiet_scores, SCORE_EDGES)[0].astype(np.int64),
    )


def load_reference(path: Path, format_version: int) -> Reference:
    """Reference that `save` wrote in a bundle of that format. Raises BundleError where the file is damaged."""
    arrays: dict[str, Any] = read_arrays(path, _FIELDS_1 if format_version == 1 else _FIELDS)
    nothing = {
        "benign_quantiles": np.full((len(arrays["missing"]), len(BENIGN_LEVELS)), np.nan),
        "benign_category_counts": np.zeros_like(arrays["category_counts"]),
        "benign_score_counts": np.zeros_like(arrays["score_counts"]),
    }
    return Reference(**{**nothing, **arrays, "rows": int(arrays["rows"])})


def _counts_by_column(matrix: Matrix, preprocessor: Preprocessor) -> list[npt.NDArray[np.int64]]:
    return [
        _category_counts(matrix[:, position], len(column.categories)) if column.categorical else np.zeros(0, np.int64)
        for position, column in enumerate(preprocessor.columns)
    ]


def _quantiles_by_column(
    matrix: Matrix, preprocessor: Preprocessor, levels: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    quantiles = [
        np.full(len(levels), np.nan) if column.categorical else _quantiles(matrix[:, position], levels)
        for position, column in enumerate(preprocessor.columns)
    ]
    return np.array(quantiles, np.float64).reshape(len(quantiles), len(levels))


def _category_counts(codes: npt.NDArray[np.float32], categories: int) -> npt.NDArray[np.int64]:
    present = codes[~np.isnan(codes)].astype(np.int64)
    return np.bincount(present - UNKNOWN_CODE, minlength=categories + 1).astype(np.int64)


def _quantiles(values: npt.NDArray[np.float32], levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    present = values[~np.isnan(values)]
    return np.quantile(present, levels).astype(np.float64) if len(present) else np.full(len(levels), np.nan)
