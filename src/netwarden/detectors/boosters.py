"""A fitted XGBoost booster as detectors use it: margins, exact TreeSHAP, files; safe to call from several threads."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detectors.base import Matrix
from netwarden.errors import BundleError


@dataclass(frozen=True)
class TreeSum:
    """Trees whose leaves add up to a margin per row."""

    booster: xgb.Booster
    _explaining: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def margin(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Sum of leaves per row, (rows,), or (rows, classes) of a booster that has several."""
        margin: npt.NDArray[np.float32] = self.booster.inplace_predict(matrix, predict_type="margin")
        return margin.astype(np.float64)

    def shares(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """(rows, features + 1): exact TreeSHAP and, last, the base; a row adds up to its margin."""
        if len(matrix) == 0:
            return np.zeros((0, self.booster.num_features() + 1))
        with self._explaining:
            return np.asarray(self._explainer.predict(xgb.DMatrix(matrix), pred_contribs=True), np.float64)

    @cached_property
    def _explainer(self) -> xgb.Booster:
        """A copy, because this one call of XGBoost's is not safe beside others on the same booster.

        It uses all processors: scoring runs chunks side by side on one thread each, explaining waits its turn.
        """
        copied = self.booster.copy()
        copied.set_param({"nthread": len(os.sched_getaffinity(0))})
        return copied

    def save(self, path: Path) -> None:
        """Write XGBoost's own binary JSON; equal trees give equal bytes."""
        self.booster.save_model(path)


def load_trees(path: Path, threads: int) -> TreeSum:
    """Trees that `save` wrote; they predict on `threads` threads. Raises BundleError where XGBoost cannot read them."""
    try:
        booster = xgb.Booster(model_file=str(path))
    except xgb.core.XGBoostError as error:
        raise BundleError(f"{path.name} is not a model that this XGBoost reads: {first_line(error)}") from None
    booster.set_param({"nthread": threads})
    return TreeSum(booster)


def likeliest(trees: TreeSum, matrix: Matrix) -> npt.NDArray[np.int64]:
    """Class of the highest margin per row, of a booster with several classes."""
    if not len(matrix):  # then XGBoost forgets how many classes there are
        return np.zeros(0, np.int64)
    codes: npt.NDArray[np.int64] = np.argmax(trees.margin(matrix), axis=1)
    return codes


def first_line(error: Exception) -> str:
    """What XGBoost says, without the time and its source line."""
    return re.sub(r"^\[[0-9:]+\] \S+: ", "", str(error).splitlines()[0])
