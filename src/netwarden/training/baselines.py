"""Trivial models that stand beside every detector: what a figure is worth shows in how far they get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Matrix, Scores
from netwarden.detectors.threshold import choose_threshold
from netwarden.detectors.verdicts import name_alerts, nearest_families
from netwarden.errors import TrainingError
from netwarden.evaluation.split import FIT, THRESHOLD
from netwarden.features.preprocessor import Preprocessor
from netwarden.flows.truth import ATTACK
from netwarden.params import Params
from netwarden.training.fit import fit_and_calibrate
from netwarden.training.rows import TrainingRows

MAJORITY, BEST_FEATURE, LINE = "majority", "best feature", "logistic_regression"
BASELINES = (MAJORITY, BEST_FEATURE, LINE)

_LEAVES, _LEAST_ROWS = 64, 20
_TRIAL_ROWS = 20_000  # that features are compared on
_OUT_OF_REACH = 2.0  # scores end at 1
_BELOW_ONE = 0.999  # a leaf of attacks alone scores this: the threshold lies between scores


@dataclass(frozen=True)
class Judge:
    """A fitted model: scores of rows, families of rows that alert, and the threshold of each budget.

    `nearest` names a family where `name` may say novel.
    """

    score: Callable[[Matrix], Scores]
    name: Callable[[Matrix], npt.NDArray[np.str_]]
    nearest: Callable[[Matrix], npt.NDArray[np.str_]]
    thresholds: dict[float, float]


def fit_judge(
    model: str, rows: TrainingRows, preprocessor: Preprocessor, params: Params, budgets: Sequence[float]
) -> Judge:
    """Baseline or detector kind of that name, fitted; thresholds come from the benign rows of the threshold part."""
    if model == MAJORITY:
        return _majority(rows, budgets)
    if model == BEST_FEATURE:
        return _best_feature(rows, params.train.seed, budgets)
    train = params.train.model_copy(update={"detector": model})
    made = fit_and_calibrate(rows, preprocessor, params.model_copy(update={"train": train}))

    def score(matrix: Matrix) -> Scores:
        return made.calibration.apply(made.detector.score(matrix))

    return Judge(
        score,
        lambda alerts: name_alerts(made.detector, alerts),
        lambda alerts: nearest_families(made.detector, alerts),
        thresholds_of(made.quiet_scores, budgets),
    )


def _majority(rows: TrainingRows, budgets: Sequence[float]) -> Judge:
    """Says of every flow what most rows to fit on are, whatever the budget."""
    attacks = rows.part(FIT).attack.mean() > 0.5
    thresholds = dict.fromkeys(budgets, 0.0 if attacks else 1.0)
    return Judge(lambda matrix: np.zeros(len(matrix)), _nameless, _nameless, thresholds)


def _best_feature(rows: TrainingRows, seed: int, budgets: Sequence[float]) -> Judge:
    """A small tree of the one feature whose tree ranks the rows to fit on best."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - only where experiments run

    fit = rows.part(FIT)
    trial = np.random.default_rng(seed).permutation(len(fit.matrix))[:_TRIAL_ROWS]

    def rank(place: int) -> float:
        tree = _tree(fit.matrix[trial, place], fit.attack[trial])
        return float(roc_auc_score(fit.attack[trial], tree.predict_proba(fit.matrix[trial, place, None])[:, 1]))

    best = max(range(fit.matrix.shape[1]), key=rank)
    tree = _tree(fit.matrix[:, best], fit.attack)

    def score(matrix: Matrix) -> Scores:
        return np.asarray(_BELOW_ONE * tree.predict_proba(matrix[:, best, None])[:, 1], np.float64)

    quiet = rows.part(THRESHOLD)
    thresholds = thresholds_of(score(quiet.matrix[quiet.attack == 0]), budgets)
    return Judge(score, _nameless, _nameless, thresholds)


def _tree(column: npt.NDArray[np.float32], attack: npt.NDArray[np.int8]) -> Any:
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415 - only where experiments run

    tree = DecisionTreeClassifier(max_leaf_nodes=_LEAVES, min_samples_leaf=_LEAST_ROWS, random_state=0)
    return tree.fit(column[:, None], attack)


def thresholds_of(quiet_scores: Scores, budgets: Sequence[float]) -> dict[float, float]:
    """Threshold of each budget; one that nothing reaches where too many benign rows have the highest score there is."""
    thresholds = {}
    for budget in budgets:
        try:
            thresholds[budget] = choose_threshold(quiet_scores, budget).value
        except TrainingError:
            thresholds[budget] = _OUT_OF_REACH
    return thresholds


def _nameless(alerts: Matrix) -> npt.NDArray[np.str_]:
    return np.full(len(alerts), ATTACK)
