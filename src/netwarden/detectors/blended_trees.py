"""Boosters that each see only some of the features, blended into one booster that averages them.

A booster of all features leans on the few that tell the attacks of training apart best; an unknown attack need not
move these. Boosters that each miss many features find other tells, and their mean keeps a share of all of them.

Half of the boosters are also shown crossings of two benign rows as if they were attacks, at little weight. So they
learn which features of benign flows go together, and take what goes against that for an attack though none of training
did. The others, which come first, speak of the attacks of training alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detector_params import BlendedTreesParams
from netwarden.detectors.base import FitRows, Matrix
from netwarden.detectors.boosters import TreeSum

_CROSSED = (0.05, 0.6)  # share of features that a crossing takes from its second row, from the least to the most
_MIDDLE = 0.5  # base score of each booster: log-odds 0, so that only leaves speak

Columns = npt.NDArray[np.int64]


def fit_blend(rows: FitRows, params: BlendedTreesParams, seed: int, threads: int) -> TreeSum:
    """Booster whose margin is the mean log-odds of attack over boosters that each see some features.

    Each is fitted by one thread, so the number of threads changes nothing but the time.
    """
    shares = _deal(rows.matrix.shape[1], params, seed)
    rows = replace(rows, weights=_balanced(rows, params.name_balance))
    with ThreadPoolExecutor(threads or None) as pool:
        fits = [
            pool.submit(_fit_one, rows, columns, params, seed + at, at >= _plain(params))
            for at, columns in enumerate(shares)
        ]
        boosters = [fit.result() for fit in fits]
    return _blend(boosters, shares, rows.matrix.shape[1], threads)


def _balanced(rows: FitRows, power: float) -> npt.NDArray[np.float32]:
    """Weights with which rare attack names count for more, and all attacks together for as much as before."""
    attacks = rows.attack == 1
    _, name, counts = np.unique(rows.labels[attacks], return_inverse=True, return_counts=True)
    weights = rows.weights.astype(np.float64)
    before = weights[attacks].sum()
    weights[attacks] *= (counts.max() / counts[name]) ** power
    weights[attacks] *= before / weights[attacks].sum()
    return weights.astype(np.float32)


def attack_margin(blend: TreeSum, params: BlendedTreesParams, matrix: Matrix) -> npt.NDArray[np.float64]:
    """Mean log-odds of attack per row, of the boosters that saw no crossings."""
    trees = (0, _plain(params) * params.n_estimators)
    margin = blend.booster.inplace_predict(matrix, predict_type="margin", iteration_range=trees)
    return np.asarray(margin, np.float64) * (params.boosters / _plain(params))


def _plain(params: BlendedTreesParams) -> int:
    """How many boosters see no crossings."""
    return -(-params.boosters // 2)


def _deal(features: int, params: BlendedTreesParams, seed: int) -> list[Columns]:
    """Features of each booster: by lot, those first that fewer boosters have seen."""
    draw = np.random.default_rng(seed)
    seen = np.zeros(features, np.int64)
    shares = []
    for _ in range(params.boosters):
        columns = np.sort(np.lexsort((draw.random(features), seen))[: max(1, round(params.feature_share * features))])
        seen[columns] += 1
        shares.append(columns)
    return shares


def _fit_one(rows: FitRows, columns: Columns, params: BlendedTreesParams, seed: int, crossings: bool) -> xgb.Booster:
    part, target, weights = np.ascontiguousarray(rows.matrix[:, columns]), rows.attack, rows.weights
    if crossings:
        crossed = _cross(part[target == 0], round(params.crossing_share * np.count_nonzero(target == 0)), seed)
        part = np.vstack([part, crossed])
        target = np.concatenate([target, np.ones(len(crossed), np.int8)])
        weights = np.concatenate([weights, np.full(len(crossed), params.crossing_weight, np.float32)])
    data = xgb.QuantileDMatrix(part, target, weight=weights, nthread=1)
    settings = {
        "objective": "binary:logistic",
        "base_score": _MIDDLE,
        "max_depth": params.max_depth,
        "learning_rate": params.learning_rate,
        "seed": seed,
        "nthread": 1,
    }
    return xgb.train(settings, data, num_boost_round=params.n_estimators)


def _cross(benign: Matrix, count: int, seed: int) -> Matrix:
    """Benign rows, some of whose features, by lot, are those of another benign row."""
    draw = np.random.default_rng(seed)
    first, second = (benign[draw.integers(0, len(benign), count)] for _ in range(2))
    return np.where(draw.random(first.shape) < draw.uniform(*_CROSSED, (count, 1)), second, first)


def _blend(boosters: Sequence[xgb.Booster], shares: Sequence[Columns], features: int, threads: int) -> TreeSum:
    """One booster of all trees, each leaf divided by the number of boosters."""
    described = [json.loads(bytes(booster.save_raw("json"))) for booster in boosters]
    trees = [
        _spread(tree, columns, features, 1.0 / len(boosters))
        for one, columns in zip(described, shares, strict=True)
        for tree in one["learner"]["gradient_booster"]["model"]["trees"]
    ]
    whole = described[0]
    model = whole["learner"]["gradient_booster"]["model"]
    model["trees"] = [tree | {"id": at} for at, tree in enumerate(trees)]
    model["tree_info"] = [0] * len(trees)
    model["iteration_indptr"] = list(range(len(trees) + 1))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    whole["learner"]["learner_model_param"]["num_feature"] = str(features)
    booster = xgb.Booster()
    booster.load_model(bytearray(json.dumps(whole).encode()))
    booster.set_param({"nthread": threads})
    return TreeSum(booster)


def _spread(tree: dict[str, Any], columns: Columns, features: int, share: float) -> dict[str, Any]:
    """A tree that splits on the columns it was shown, as one over all features whose leaves count for a share."""
    leaf = np.asarray(tree["left_children"]) < 0
    split = np.asarray(tree["split_conditions"], np.float64)
    return tree | {
        "split_indices": np.where(leaf, 0, columns[np.asarray(tree["split_indices"])]).tolist(),
        "split_conditions": np.where(leaf, split * share, split).tolist(),
        "base_weights": (np.asarray(tree["base_weights"], np.float64) * share).tolist(),
        "tree_param": tree["tree_param"] | {"num_feature": str(features)},
    }
