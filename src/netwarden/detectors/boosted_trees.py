"""Gradient-boosted trees (XGBoost): one head for attack or benign, one for the family of an attack.

Every alert of this kind is a `known_attack`: trees learn the attacks they were shown and have no evidence of novelty.
Where labels are binary the family head is off, and the family of its alerts is null.
"""

from __future__ import annotations

import json
import re
import threading
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.errors import BundleError, TrainingError

_BINARY, _FAMILY, _FACTS = "binary.ubj", "family.ubj", "boosted_trees.json"
_OURS = ("objective", "num_class", "seed", "random_state", "nthread", "n_jobs", "booster", "verbosity", "device")
_BINARY_ONLY = ("scale_pos_weight", "base_score", "max_delta_step")


@dataclass(frozen=True)
class BoostedTrees:
    """Fitted trees. `score` is the probability of attack, before calibration."""

    binary: xgb.Booster
    family: xgb.Booster | None
    families: tuple[str, ...]
    kind: str = "boosted_trees"
    parts: tuple[Part, ...] = ("supervised",)
    _explaining: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def score(self, matrix: Matrix) -> Scores:
        """Probability of attack per row, in float64 so that sure rows stay apart."""
        return _probability(_margin(self.binary, matrix))

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index of the likeliest family per row."""
        if self.family is None:  # one family has nothing to tell apart
            return np.zeros(len(matrix), np.int64)
        margins = _margin(self.family, matrix).reshape(len(matrix), len(self.families))
        codes: npt.NDArray[np.int64] = np.argmax(margins, axis=1)
        return codes

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """True for every row: this kind knows only attacks it was trained on."""
        return np.ones(len(matrix), np.bool_)

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Log-odds of the score."""
        return _margin(self.binary, matrix).astype(np.float64)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Exact TreeSHAP in log-odds."""
        if len(matrix) == 0:
            return np.zeros((0, 1, self.binary.num_features() + 1))
        with self._explaining:
            shares = self._explainer.predict(xgb.DMatrix(matrix), pred_contribs=True)
        return np.asarray(shares, np.float64)[:, None, :]

    @cached_property
    def _explainer(self) -> xgb.Booster:
        """A copy, because this one call of XGBoost's is not safe beside others on the same booster."""
        return self.binary.copy()

    def adapted(self, benign: Matrix) -> BoostedTrees:  # noqa: ARG002 - trees keep nothing about benign rows
        """Itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write the heads as XGBoost's own binary JSON."""
        self.binary.save_model(folder / _BINARY)
        if self.family is not None:
            self.family.save_model(folder / _FAMILY)
        (folder / _FACTS).write_text(json.dumps({"families": self.families}) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class BoostedTreesKind:
    """Fits and loads boosted trees."""

    name: str = "boosted_trees"
    section: str = "xgb_classifier"

    def fit(self, rows: FitRows, params: XgbClassifierParams, seed: int, threads: int) -> BoostedTrees:
        """Trees fitted on rows; category codes serve as ordinals: as exact here, and three times as fast.

        Raises TrainingError for a single class, too few rows, or a parameter that XGBoost does not know.
        """
        rows.require_classes("boosted trees")
        shared = _checked(params.model_dump()) | {"seed": seed, "nthread": threads, "verbosity": 1}
        names = rows.family_names
        binary = _train(rows, rows.attack, shared | {"objective": "binary:logistic"})
        family = None
        if len(names) > 1:
            attacks = rows.where(rows.attack == 1)
            codes = np.searchsorted(names, attacks.families)
            only = {key: value for key, value in shared.items() if key not in _BINARY_ONLY}
            family = _train(attacks, codes, only | {"objective": "multi:softprob", "num_class": len(names)})
        return BoostedTrees(binary, family, names)

    def load(self, folder: Path, threads: int) -> BoostedTrees:
        """Trees from a folder that `save` wrote and whose hashes were verified; they predict on `threads` threads."""
        families = tuple(json.loads((folder / _FACTS).read_text(encoding="utf-8"))["families"])
        family = _booster(folder / _FAMILY, threads) if len(families) > 1 else None
        return BoostedTrees(_booster(folder / _BINARY, threads), family, families)


def _checked(params: dict[str, Any]) -> dict[str, Any]:
    taken = sorted(set(params) & set(_OURS))
    if taken:
        raise TrainingError(f"xgb_classifier sets {', '.join(taken)}, which the detector sets itself; remove it")
    return params


def _train(rows: FitRows, target: npt.NDArray[Any], params: dict[str, Any]) -> xgb.Booster:
    rounds = {"num_boost_round": int(params["n_estimators"])} if "n_estimators" in params else {}
    known = {key: value for key, value in params.items() if key != "n_estimators"}
    weights = None if (rows.weights == 1).all() else rows.weights  # XGBoost bins weighted rows in another way
    data = xgb.QuantileDMatrix(
        rows.matrix, target, weight=weights, max_bin=params.get("max_bin"), nthread=params["nthread"]
    )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            booster = xgb.train(known, data, **rounds)
        except xgb.core.XGBoostError as error:
            raise TrainingError(f"XGBoost refuses its parameters or rows: {_first_line(error)}") from None
    for warning in heard:
        if "are not used" in str(warning.message):
            raise TrainingError(f"xgb_classifier has parameters that XGBoost does not know: {_quoted(warning)}")
    return booster


def _booster(path: Path, threads: int) -> xgb.Booster:
    try:
        booster = xgb.Booster(model_file=str(path))
    except xgb.core.XGBoostError as error:
        raise BundleError(f"{path.name} is not a model that this XGBoost reads: {_first_line(error)}") from None
    booster.set_param({"nthread": threads})
    return booster


def _margin(booster: xgb.Booster, matrix: Matrix) -> npt.NDArray[np.float32]:
    margin: npt.NDArray[np.float32] = booster.inplace_predict(matrix, predict_type="margin")
    return margin


def _probability(log_odds: npt.NDArray[np.float32]) -> Scores:
    bounded = np.clip(log_odds.astype(np.float64), -700.0, 700.0)  # beyond, exp leaves float64
    probability: Scores = 1.0 / (1.0 + np.exp(-bounded))
    return probability


def _quoted(warning: warnings.WarningMessage) -> str:
    return ", ".join(re.findall(r'"([^"]+)"', str(warning.message)))


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0]
    return re.sub(r"^\[[0-9:]+\] \S+: ", "", text)
