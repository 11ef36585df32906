"""Columns that linear models and networks want: numbers on one scale, a column of 0 and 1 per frequent category."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Matrix
from netwarden.detectors.dense import MAX_INPUTS, Floats, rounded_inputs
from netwarden.errors import TrainingError

MAX_CATEGORIES = 64  # columns per feature: its most frequent categories
_LARGEST = 8.0  # deviations; what lies further out counts as that far
_STEP = float(np.log(2))  # from 0 to 1, on the scale of logarithms


@dataclass(frozen=True)
class Scaling:
    """Fitted on rows; the columns are the numbers, then the categories of each feature in turn.

    A number is its signed logarithm, less the mean, in standard deviations: bytes and durations span many powers of
    ten. A missing one is the mean. A category that has no column, or is missing, is 0 everywhere.
    """

    numbers: npt.NDArray[np.int64]  # their features
    means: Floats
    deviations: Floats  # infinite for a number that never changes
    categories: npt.NDArray[np.int64]  # features of the further columns
    codes: npt.NDArray[np.float32]  # the category that each of them stands for

    @cached_property
    def owner(self) -> npt.NDArray[np.int64]:
        """Feature of each column."""
        return np.concatenate([self.numbers, self.categories])

    def columns(self, matrix: Matrix) -> Floats:
        """(rows, columns), each a rounded input of `dense`."""
        numbers = (_logarithm(matrix[:, self.numbers]) - self.means) / self.deviations
        known = np.nan_to_num(np.clip(numbers, -_LARGEST, _LARGEST), nan=0.0)
        return np.hstack([rounded_inputs(known), matrix[:, self.categories] == self.codes])

    def varying_as(self, elsewhere: Scaling) -> Scaling:
        """The same, but for numbers that never change here: another value is as far off as it would be elsewhere.

        One that changes nowhere is a deviation off where it is 1 instead of 0.
        """
        known = np.where(np.isfinite(elsewhere.deviations), elsewhere.deviations, _STEP)
        return replace(self, deviations=np.where(np.isfinite(self.deviations), self.deviations, known))

    def by_feature(self, values: Floats, features: int) -> Floats:
        """(rows, features): values of columns (rows, columns) added up for each feature."""
        belongs = np.zeros((len(self.owner), features))
        belongs[np.arange(len(self.owner)), self.owner] = 1.0
        return values @ belongs

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Fitted state, to be kept in an `.npz`."""
        return {f"scaling_{name}": getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(field.name for field in fields(Scaling))
SCALING_ARRAYS = tuple(f"scaling_{name}" for name in _FIELDS)


def fit_scaling(matrix: Matrix, categorical: tuple[bool, ...]) -> Scaling:
    """Scaling that fits these rows. Raises TrainingError where they need too many columns."""
    marks = np.asarray(categorical, bool)
    numbers, named = np.flatnonzero(~marks), np.flatnonzero(marks)
    values = _logarithm(matrix[:, numbers])
    some = ~np.isnan(values).all(axis=0)
    means, deviations = np.zeros(len(numbers)), np.full(len(numbers), np.inf)
    means[some], deviations[some] = np.nanmean(values[:, some], axis=0), np.nanstd(values[:, some], axis=0)
    deviations[deviations <= 1e-9 * (1 + np.abs(means))] = np.inf
    codes = [_frequent(matrix[:, feature]) for feature in named]
    width = len(numbers) + sum(len(each) for each in codes)
    if width > MAX_INPUTS:
        raise TrainingError(f"{width} columns after one-hot coding; linear models and networks take {MAX_INPUTS}")
    return Scaling(
        numbers,
        means,
        deviations,
        np.repeat(named, [len(each) for each in codes]),
        np.concatenate([np.zeros(0, np.float32), *codes]),
    )


def restored_scaling(arrays: Mapping[str, npt.NDArray[Any]]) -> Scaling:
    """Scaling whose `arrays` were kept."""
    return Scaling(**{name: arrays[f"scaling_{name}"] for name in _FIELDS})


def _logarithm(values: npt.NDArray[np.float32]) -> Floats:
    wide = values.astype(np.float64)
    return np.sign(wide) * np.log1p(np.abs(wide))


def _frequent(column: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The most frequent known codes, in their order."""
    codes, counts = np.unique(column[column >= 0], return_counts=True)
    return np.sort(codes[np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]])
