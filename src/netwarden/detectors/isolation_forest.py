"""Isolation forest (Liu, Ting & Zhou 2008) on benign rows only: what few cuts set apart is unlike what is usual.

It learns nothing from attacks and names no family: each of its alerts is `novel`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detector_params import IsolationForestParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.boosters import TreeSum, load_trees
from netwarden.detectors.forest import as_booster

_PATHS, _FACTS = "paths.ubj", "isolation_forest.json"
_EULER = 0.5772156649015329


@dataclass(frozen=True)
class IsolationForest:
    """Fitted trees; `paths` adds up to minus the mean path length, in units of the usual one."""

    paths: TreeSum
    params: IsolationForestParams
    seed: int
    families: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ("novelty",)
    kind: str = "isolation_forest"

    def score(self, matrix: Matrix) -> Scores:
        """The paper's anomaly score: about 0.5 where a row is as hard to isolate as any, towards 1 where it is easy."""
        return np.exp2(self.paths.margin(matrix))

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Minus the mean path length, in units of the usual one: −1 is usual, towards 0 is odd."""
        return self.paths.margin(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Exact TreeSHAP of the path length: which features made the row easy to isolate."""
        return self.paths.shares(matrix)[:, None, :]

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """False for every row: this kind knows no attacks."""
        return np.zeros(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Nothing to tell apart."""
        return np.zeros(len(matrix), np.int64)

    def adapted(self, benign: Matrix) -> IsolationForest:
        """Forest of the same parameters and seed, grown on these rows."""
        return _grow(benign, self.params, self.seed, threads=1)

    def save(self, folder: Path) -> None:
        """Write the trees, and what it takes to grow them on other rows."""
        self.paths.save(folder / _PATHS)
        facts = {"params": self.params.model_dump(), "seed": self.seed}
        (folder / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class IsolationForestKind:
    """Fits and loads isolation forests."""

    name: str = "isolation_forest"
    section: str = "isolation_forest"

    def fit(self, rows: FitRows, params: IsolationForestParams, seed: int, threads: int) -> IsolationForest:
        """Forest grown on the benign rows. Raises TrainingError for a single class or too few rows."""
        rows.require_classes("an isolation forest with calibrated scores")
        return _grow(rows.matrix[rows.attack == 0], params, seed, threads)

    def load(self, folder: Path, threads: int) -> IsolationForest:
        """Forest that `save` wrote."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        params = IsolationForestParams.model_validate(facts["params"])
        return IsolationForest(load_trees(folder / _PATHS, threads), params, facts["seed"])


def _grow(benign: Matrix, params: IsolationForestParams, seed: int, threads: int) -> IsolationForest:
    from sklearn.ensemble import IsolationForest as Forest  # noqa: PLC0415 - serving never fits

    drawn = min(params.max_samples, len(benign))
    forest = Forest(n_estimators=params.n_estimators, max_samples=drawn, random_state=seed, n_jobs=threads or -1)
    trees = [each.tree_ for each in forest.fit(benign).estimators_]
    unit = -1.0 / (params.n_estimators * float(_usual_path(np.array([drawn]))[0]))
    paths = as_booster([(tree, _paths(tree) * unit) for tree in trees], benign.shape[1], threads)
    return IsolationForest(paths, params, seed)


def _paths(tree: Any) -> npt.NDArray[np.float64]:
    """(nodes, 1): cuts down to a node, and those that its rows would still take."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # a parent stands before its children
        if tree.children_left[node] >= 0:
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1
    return (depth + _usual_path(tree.n_node_samples))[:, None]


def _usual_path(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Mean path length of an unsuccessful search in a binary tree of so many rows: the paper's c(n)."""
    many = np.maximum(rows, 3).astype(np.float64)
    long = 2.0 * (np.log(many - 1.0) + _EULER) - 2.0 * (many - 1.0) / many
    return np.where(rows <= 1, 0.0, np.where(rows == 2, 1.0, long))
