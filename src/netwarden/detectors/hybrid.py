"""Evidence of known attacks and evidence of novelty, each as its rarity among benign rows, added up.

Blended trees speak of attacks that training showed, a reconstruction by principal components of what is unlike benign
rows. Each is turned into minus the logarithm of a p-value against benign rows that served no fit; their sum is
Fisher's (1925) statistic of combined p-values. An alert that the trees would have raised by themselves is a known
attack, any other is novel.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detector_params import HybridParams, XgbClassifierParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.blended_trees import fit_blend
from netwarden.detectors.boosted_trees import fit_families
from netwarden.detectors.boosters import TreeSum, likeliest, load_trees
from netwarden.detectors.log_odds import probability
from netwarden.detectors.reconstruction import (
    RECONSTRUCTION_ARRAYS,
    Reconstruction,
    fit_reconstruction,
    restored_reconstruction,
)
from netwarden.detectors.scaling import Scaling, fit_scaling
from netwarden.detectors.surprise import MOST, Surprise, fit_surprise
from netwarden.features.arrays import read_arrays, write_arrays

_TREES, _FAMILY, _NOVELTY, _FACTS = "trees.ubj", "family.ubj", "novelty.npz", "hybrid.json"
_HELD_OUT_FOLDS = 5  # benign rows of one of them tell how rare evidence is
_LEAST_MISSED = 1e-6  # keeps the logarithm finite
_SCALE, _OFFSET = 0.25, 4.0  # of Fisher's statistic in the raw score's log-odds: within what float64 tells apart


@dataclass(frozen=True)
class Hybrid:
    """Fitted trees and reconstruction, with what is usual of the evidence of each."""

    trees: TreeSum
    family: TreeSum | None
    families: tuple[str, ...]
    reconstruction: Reconstruction
    usual: tuple[Surprise, Surprise]  # of the trees' log-odds, and of the logarithm of what is missed
    categorical: tuple[bool, ...]
    params: HybridParams
    parts: tuple[Part, ...] = ("supervised", "novelty")
    kind: str = "hybrid"

    def score(self, matrix: Matrix) -> Scores:
        """A logistic curve of both surprises together, not yet calibrated."""
        log_odds, missed = self.trees.margin(matrix), self.reconstruction.missed(matrix)
        both = self.usual[0].of(log_odds) + self.params.novelty_weight * self.usual[1].of(_logarithm(missed))
        return probability(_SCALE * np.minimum(both, 2 * MOST) - _OFFSET)

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """The trees' mean log-odds of attack, and the squared residual of the reconstruction."""
        return np.column_stack([self.trees.margin(matrix), self.reconstruction.missed(matrix)])

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Exact TreeSHAP in log-odds, and what the reconstruction misses of each feature, whose base is 0."""
        missed = np.hstack([self.reconstruction.missed_by_feature(matrix), np.zeros((len(matrix), 1))])
        return np.stack([self.trees.shares(matrix), missed], axis=1)

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """Whether the trees alone find a row rarer than a benign one in `1 / known_share`."""
        return np.asarray(self.usual[0].of(self.trees.margin(matrix)) >= -np.log(self.params.known_share), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index of the likeliest family per row."""
        return likeliest(self.family, matrix) if self.family else np.zeros(len(matrix), np.int64)

    def adapted(self, benign: Matrix) -> Hybrid:
        """The same trees; reconstruction and rarities are of these rows."""
        labels = np.full(len(benign), "benign")
        rows = FitRows.of(benign, labels, labels, self.categorical)
        waiting = rows.folds(_HELD_OUT_FOLDS, seed=0) == 0
        scaling = self.reconstruction.scaling
        reconstruction, usual = _learn_benign(rows, waiting, self.trees, self.params, scaling)
        return replace(self, reconstruction=reconstruction, usual=usual)

    def save(self, folder: Path) -> None:
        """Write the trees as XGBoost's own binary JSON, all else as plain arrays and JSON."""
        self.trees.save(folder / _TREES)
        if self.family:
            self.family.save(folder / _FAMILY)
        arrays: dict[str, npt.NDArray[Any]] = dict(self.reconstruction.arrays())
        for part, usual in zip(self.parts, self.usual, strict=True):
            arrays |= {f"{part}_{name}": np.asarray(getattr(usual, name)) for name in _SURPRISE}
        write_arrays(folder / _NOVELTY, arrays)
        facts = {
            "families": self.families,
            "categorical": self.categorical,
            "params": self.params.model_dump(mode="json"),
        }
        (folder / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


_SURPRISE = ("levels", "values", "slope")
_PARTS: tuple[Part, ...] = ("supervised", "novelty")


@dataclass(frozen=True)
class HybridKind:
    """Fits and loads hybrids."""

    name: str = "hybrid"
    section: str = "hybrid"

    def fit(self, rows: FitRows, params: HybridParams, seed: int, threads: int) -> Hybrid:
        """Hybrid fitted on rows; some benign ones only tell what is usual. Raises TrainingError where rows are too few.

        Synthetic rows teach the family head alone: they are made of attacks that the trees know anyway.
        """
        rows.require_classes("a hybrid")
        waiting = (rows.attack == 0) & (rows.folds(_HELD_OUT_FOLDS, seed) == 0)
        trees = fit_blend(rows.where(~waiting & ~rows.grown), params.trees, seed, threads)
        benign = rows.where(rows.attack == 0)
        known = fit_scaling(rows.where(~rows.grown).matrix, rows.categorical) if params.scale_constants else None
        reconstruction, usual = _learn_benign(benign, waiting[rows.attack == 0], trees, params, known)
        family = fit_families(rows, params.family or XgbClassifierParams(), seed, threads)
        return Hybrid(trees, family, rows.family_names, reconstruction, usual, rows.categorical, params)

    def load(self, folder: Path, threads: int) -> Hybrid:
        """Hybrid that `save` wrote."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        names = [f"{part}_{name}" for part in _PARTS for name in _SURPRISE]
        arrays = read_arrays(folder / _NOVELTY, (*RECONSTRUCTION_ARRAYS, *names))
        families = tuple(facts["families"])
        return Hybrid(
            load_trees(folder / _TREES, threads),
            load_trees(folder / _FAMILY, threads) if len(families) > 1 else None,
            families,
            restored_reconstruction(arrays),
            (_restored_surprise(arrays, _PARTS[0]), _restored_surprise(arrays, _PARTS[1])),
            tuple(facts["categorical"]),
            HybridParams.model_validate(facts["params"]),
        )


def _learn_benign(
    benign: FitRows,
    waiting: npt.NDArray[np.bool_],
    trees: TreeSum,
    params: HybridParams,
    elsewhere: Scaling | None = None,
) -> tuple[Reconstruction, tuple[Surprise, Surprise]]:
    """Reconstruction fitted on benign rows but the waiting ones, and the rarity of evidence among these."""
    shown, apart = benign.matrix[~waiting], benign.matrix[waiting]
    reconstruction = fit_reconstruction(shown, benign.categorical, params.variance_kept, elsewhere)
    return reconstruction, (
        fit_surprise(trees.margin(apart)),
        fit_surprise(_logarithm(reconstruction.missed(apart))),
    )


def _restored_surprise(arrays: dict[str, npt.NDArray[Any]], part: Part) -> Surprise:
    levels, values, slope = (arrays[f"{part}_{name}"] for name in _SURPRISE)
    return Surprise(levels, values, float(slope))


def _logarithm(missed: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(missed + _LEAST_MISSED), np.float64)
