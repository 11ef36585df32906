"""Boosters that each see only some of the features, blended into one booster that averages them.

A booster of all features leans on the few that tell the attacks of training apart best; an unknown attack need not
move these. Boosters that each miss half of them find other tells, and their mean keeps a share of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost as xgb

from netwarden.detector_params import BlendedTreesParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.boosters import TreeSum

_MIDDLE = 0.5  # base score of each booster: log-odds 0, so that only leaves speak

Columns = npt.NDArray[np.int64]


def fit_blend(rows: FitRows, params: BlendedTreesParams, seed: int, threads: int) -> TreeSum:
    """Booster whose margin is the mean log-odds of attack over boosters that each see some features.

    Each is fitted by one thread, so the number of threads changes nothing but the time.
    """
    shares = deal(rows.matrix.shape[1], params, seed)
    with ThreadPoolExecutor(threads or None) as pool:
        boosters = list(pool.map(lambda at: _fit_one(rows, shares[at], params, seed + at), range(len(shares))))
    return _blend(boosters, shares, rows.matrix.shape[1], threads)


def deal(features: int, params: BlendedTreesParams, seed: int) -> list[Columns]:
    """Features of each booster: by lot, those first that fewer boosters have seen."""
    draw = np.random.default_rng(seed)
    seen = np.zeros(features, np.int64)
    shares = []
    for _ in range(params.boosters):
        columns = np.sort(np.lexsort((draw.random(features), seen))[: max(1, round(params.feature_share * features))])
        seen[columns] += 1
        shares.append(columns)
    return shares


def _fit_one(rows: FitRows, columns: Columns, params: BlendedTreesParams, seed: int) -> xgb.Booster:
    part = np.ascontiguousarray(rows.matrix[:, columns])
    data = xgb.QuantileDMatrix(part, rows.attack, weight=rows.weights, nthread=1)
    settings = {
        "objective": "binary:logistic",
        "base_score": _MIDDLE,
        "max_depth": params.max_depth,
        "learning_rate": params.learning_rate,
        "seed": seed,
        "nthread": 1,
    }
    return xgb.train(settings, data, num_boost_round=params.n_estimators)


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
