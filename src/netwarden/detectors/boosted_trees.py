"""Gradient-boosted trees (XGBoost): one head for attack or benign, one for the family of an attack.

Every alert of this kind is a `known_attack`: trees learn the attacks they were shown and have no evidence of novelty.
Where labels are binary the family head is off, and the family of its alerts is null.
"""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.boosters import TreeSum, first_line, likeliest, load_trees
from netwarden.detectors.log_odds import probability
from netwarden.errors import TrainingError

_BINARY, _FAMILY, _FACTS = "binary.ubj", "family.ubj", "boosted_trees.json"
_OURS = ("objective", "num_class", "seed", "random_state", "nthread", "n_jobs", "booster", "verbosity", "device")
_BINARY_ONLY = ("scale_pos_weight", "base_score", "max_delta_step")


@dataclass(frozen=True)
class BoostedTrees:
    """Fitted trees. `score` is the probability of attack, before calibration."""

    binary: TreeSum
    family: TreeSum | None
    families: tuple[str, ...]
    kind: str = "boosted_trees"
    parts: tuple[Part, ...] = ("supervised",)

    def score(self, matrix: Matrix) -> Scores:
        """Probability of attack per row, in float64 so that sure rows stay apart."""
        return probability(self.binary.margin(matrix))

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Log-odds of the score."""
        return self.binary.margin(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Exact TreeSHAP in log-odds."""
        return self.binary.shares(matrix)[:, None, :]

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """True for every row: this kind knows only attacks it was trained on."""
        return np.ones(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index of the likeliest family per row; one family has nothing to tell apart."""
        return likeliest(self.family, matrix) if self.family else np.zeros(len(matrix), np.int64)

    def adapted(self, benign: Matrix) -> BoostedTrees:  # noqa: ARG002 - trees keep nothing about benign rows
        """Itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write the heads as XGBoost's own binary JSON."""
        self.binary.save(folder / _BINARY)
        if self.family:
            self.family.save(folder / _FAMILY)
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
        binary = _train(rows, rows.attack, _shared(params, seed, threads) | {"objective": "binary:logistic"})
        return BoostedTrees(binary, fit_families(rows, params, seed, threads), rows.family_names)

    def load(self, folder: Path, threads: int) -> BoostedTrees:
        """Trees from a folder that `save` wrote and whose hashes were verified; they predict on `threads` threads."""
        families = tuple(json.loads((folder / _FACTS).read_text(encoding="utf-8"))["families"])
        family = load_trees(folder / _FAMILY, threads) if len(families) > 1 else None
        return BoostedTrees(load_trees(folder / _BINARY, threads), family, families)


def fit_families(rows: FitRows, params: XgbClassifierParams, seed: int, threads: int) -> TreeSum | None:
    """Trees that tell the families of attacks apart, where there are several."""
    names = rows.family_names
    if len(names) < 2:
        return None
    attacks = rows.where(rows.attack == 1)
    shared = {key: value for key, value in _shared(params, seed, threads).items() if key not in _BINARY_ONLY}
    codes = np.searchsorted(names, attacks.families)
    return _train(attacks, codes, shared | {"objective": "multi:softprob", "num_class": len(names)})


def _shared(params: XgbClassifierParams, seed: int, threads: int) -> dict[str, Any]:
    """Parameters of both heads, in XGBoost's names."""
    given = params.model_dump()
    taken = sorted(set(given) & set(_OURS))
    if taken:
        raise TrainingError(f"xgb_classifier sets {', '.join(taken)}, which the detector sets itself; remove it")
    return given | {"seed": seed, "nthread": threads, "verbosity": 1}


def _train(rows: FitRows, target: npt.NDArray[Any], params: dict[str, Any]) -> TreeSum:
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
            raise TrainingError(f"XGBoost refuses its parameters or rows: {first_line(error)}") from None
    for warning in heard:
        if "are not used" in str(warning.message):
            raise TrainingError(f"xgb_classifier has parameters that XGBoost does not know: {_quoted(warning)}")
    return TreeSum(booster)


def _quoted(warning: warnings.WarningMessage) -> str:
    return ", ".join(re.findall(r'"([^"]+)"', str(warning.message)))
