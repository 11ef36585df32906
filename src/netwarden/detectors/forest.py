"""Trees of scikit-learn's, kept and scored as an XGBoost booster: one file format and engine, exact TreeSHAP.

scikit-learn sends a row left where value <= threshold, the comparison in float64 of float32 values; XGBoost where
value < threshold in float32. The next float32 above the threshold makes these the same, so the sum of leaves differs
from scikit-learn's by rounding only. XGBoost takes siblings to be neighbours: nodes are numbered breadth first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.boosters import TreeSum, likeliest, load_trees

_VOTES, _FAMILY, _FACTS = "votes.ubj", "family.ubj", "forest.json"
_ROOT = 2**31 - 1  # what XGBoost writes for the parent of a root


@dataclass(frozen=True)
class VotingTrees:
    """Trees that each give a share of attacks; evidence is their mean, between 0 and 1."""

    kind: str
    votes: TreeSum
    family: TreeSum | None
    families: tuple[str, ...]
    trees: int
    parts: tuple[Part, ...] = ("supervised",)

    def score(self, matrix: Matrix) -> Scores:
        """Mean share of attacks, half a vote drawn to the middle: no row is so sure that its log-odds are infinite."""
        return (self.trees * np.clip(self.votes.margin(matrix), 0.0, 1.0) + 0.5) / (self.trees + 1)

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Mean share of attacks in the leaves that a row falls into."""
        return self.votes.margin(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Exact TreeSHAP of the mean share of attacks."""
        return self.votes.shares(matrix)[:, None, :]

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """True for every row: this kind knows only attacks it was trained on."""
        return np.ones(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index of the likeliest family per row."""
        return likeliest(self.family, matrix) if self.family else np.zeros(len(matrix), np.int64)

    def adapted(self, benign: Matrix) -> VotingTrees:  # noqa: ARG002 - trees keep nothing about benign rows
        """Itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write the heads as XGBoost's own binary JSON."""
        self.votes.save(folder / _VOTES)
        if self.family:
            self.family.save(folder / _FAMILY)
        facts = {"families": self.families, "trees": self.trees}
        (folder / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


def fit_votes(kind: str, rows: FitRows, classifier: Any, trees: int, threads: int) -> VotingTrees:
    """Trees of a scikit-learn classifier fitted on attack or benign, and on the family of attacks where it is named."""
    from sklearn.base import clone  # noqa: PLC0415 - serving never fits

    matrix = np.require(rows.matrix, requirements="W")  # scikit-learn asks for that, though it only reads
    votes = clone(classifier).fit(matrix, rows.attack, rows.weights)
    names, family = rows.family_names, None
    if len(names) > 1:
        attacks = rows.where(rows.attack == 1)
        codes = np.searchsorted(names, attacks.families)
        fitted = clone(classifier).fit(attacks.matrix, codes, attacks.weights)
        family = as_booster(
            [(tree, tree.value[:, 0, :] / trees) for tree in _trees(fitted)], rows.matrix.shape[1], threads
        )
    shares = as_booster(
        [(tree, tree.value[:, 0, 1:2] / trees) for tree in _trees(votes)], rows.matrix.shape[1], threads
    )
    return VotingTrees(kind, shares, family, names, trees)


def load_votes(kind: str, folder: Path, threads: int) -> VotingTrees:
    """Trees that `VotingTrees.save` wrote."""
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    families = tuple(facts["families"])
    family = load_trees(folder / _FAMILY, threads) if len(families) > 1 else None
    return VotingTrees(kind, load_trees(folder / _VOTES, threads), family, families, facts["trees"])


def as_booster(trees: Sequence[tuple[Any, npt.NDArray[np.float64]]], features: int, threads: int) -> TreeSum:
    """Booster whose margins are the sums of leaf values: of each tree of scikit-learn's, `values` (nodes, classes).

    One class gives one margin per row, more give a margin per class.
    """
    classes = trees[0][1].shape[1]
    numbered = [(_breadth_first(tree), values) for tree, values in trees]
    parts = [(tree, values[tree.origin, at]) for tree, values in numbered for at in range(classes)]
    objective = (
        {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}}
        if classes == 1
        else {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": str(classes)}}
    )
    model = {
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
        "gbtree_model_param": {"num_parallel_tree": str(len(trees)), "num_trees": str(len(parts))},
        "iteration_indptr": [0, len(parts)],
        "tree_info": [at % classes for at in range(len(parts))],
        "trees": [_described(tree, values, at, features) for at, (tree, values) in enumerate(parts)],
    }
    facts = {
        "base_score": "[" + ",".join(["0E0"] * classes) + "]",
        "boost_from_average": "0",
        "num_class": str(classes if classes > 1 else 0),
        "num_feature": str(features),
        "num_target": "1",
    }
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": facts,
        "objective": objective,
    }
    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps({"learner": learner, "version": [3, 0, 0]}).encode()))
    booster.set_param({"nthread": threads})
    return TreeSum(booster)


class _Nodes(NamedTuple):
    """Nodes breadth first; `origin` is the number scikit-learn gave each, −1 stands for no child."""

    origin: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    parent: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float32]
    missing_left: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float64]


def _breadth_first(tree: Any) -> _Nodes:
    order = [0]
    for node in order:
        if tree.children_left[node] >= 0:
            order += [tree.children_left[node], tree.children_right[node]]
    origin = np.array(order)
    place = np.empty(len(origin), np.int64)
    place[origin] = np.arange(len(origin))
    inner = tree.children_left[origin] >= 0
    left, right = (np.where(inner, place[side[origin]], -1) for side in (tree.children_left, tree.children_right))
    parent = np.full(len(origin), _ROOT)
    parent[left[inner]] = parent[right[inner]] = np.flatnonzero(inner)
    return _Nodes(
        origin,
        left,
        right,
        parent,
        np.where(inner, tree.feature[origin], 0),
        _next_above(tree.threshold[origin]),
        tree.missing_go_to_left[origin].astype(np.int64),
        tree.weighted_n_node_samples[origin],
    )


def _next_above(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Least float32 above a threshold: x <= threshold holds exactly where x < it."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, rounded, np.nextafter(rounded, np.float32(np.inf)))


def _described(tree: _Nodes, values: npt.NDArray[np.float64], number: int, features: int) -> dict[str, Any]:
    """A tree as XGBoost's JSON has it; leaf values stand among the thresholds."""
    nodes = len(tree.origin)
    nothing = [0.0] * nodes
    conditions = np.where(tree.left < 0, values.astype(np.float32), tree.threshold)
    return {
        "base_weights": nothing,
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": tree.missing_left.tolist(),
        "id": number,
        "left_children": tree.left.tolist(),
        "loss_changes": nothing,
        "parents": tree.parent.tolist(),
        "right_children": tree.right.tolist(),
        "split_conditions": conditions.tolist(),
        "split_indices": tree.feature.tolist(),
        "split_type": [0] * nodes,
        "sum_hessian": tree.rows.tolist(),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(features),
            "num_nodes": str(nodes),
            "size_leaf_vector": "1",
        },
    }


def _trees(fitted: Any) -> list[Any]:
    return [each.tree_ for each in getattr(fitted, "estimators_", [fitted])]
