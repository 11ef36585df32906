"""A random forest and a logistic regression, stacked (Wolpert 1992): a second logistic regression weighs what both say.

The second one is fitted on what they say of rows held out from them, or it would trust the forest blindly.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netwarden.detector_params import LogisticRegressionParams, StackingParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.dense import Floats
from netwarden.detectors.forest import VotingTrees, load_votes
from netwarden.detectors.log_odds import probability
from netwarden.detectors.logistic_regression import LogisticRegression, LogisticRegressionKind
from netwarden.detectors.random_forest import RandomForestKind
from netwarden.errors import TrainingError

_FACTS = "stacking.json"


@dataclass(frozen=True)
class Stacking:
    """Both detectors, and the weight of each in the log-odds."""

    forest: VotingTrees
    line: LogisticRegression
    forest_weight: float
    line_weight: float
    intercept: float
    parts: tuple[Part, ...] = ("supervised",)
    kind: str = "stacking"

    @property
    def families(self) -> tuple[str, ...]:
        return self.forest.families

    def score(self, matrix: Matrix) -> Scores:
        """Probability of attack per row."""
        return probability(self._log_odds(matrix))

    def _log_odds(self, matrix: Matrix) -> Floats:
        votes, line = self.forest.votes.margin(matrix), self.line.log_odds(matrix)
        return self.forest_weight * votes + self.line_weight * line + self.intercept

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Log-odds of the score."""
        return self._log_odds(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Those of both detectors, weighted: exact, because the second regression is linear in what they say."""
        shares = self.forest_weight * self.forest.contributions(matrix)
        shares += self.line_weight * self.line.contributions(matrix)
        shares[:, :, -1] += self.intercept
        return shares

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """True for every row: this kind knows only attacks it was trained on."""
        return np.ones(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """What the forest says."""
        return self.forest.family_codes(matrix)

    def adapted(self, benign: Matrix) -> Stacking:  # noqa: ARG002 - neither keeps anything about benign rows
        """Itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write both detectors, and their weights."""
        self.forest.save(folder)
        self.line.save(folder)
        facts = {"forest": self.forest_weight, "line": self.line_weight, "intercept": self.intercept}
        (folder / _FACTS).write_text(json.dumps(facts) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class StackingKind:
    """Fits and loads stacks."""

    name: str = "stacking"
    section: str = "stacking"

    def fit(self, rows: FitRows, params: StackingParams, seed: int, threads: int) -> Stacking:
        """Stack fitted on rows. Raises TrainingError for a single class, too few rows or too few that differ."""
        rows.require_classes("a stack")
        _require_variety(rows, params.folds)
        held_out, given = _held_out(rows, params, seed, threads), ~rows.grown
        forest_weight, line_weight, intercept = _weigh(
            held_out[given], rows.attack[given], rows.weights[given], params.logistic_regression
        )
        forest, line = _fit_both(rows, params, seed, threads)
        return Stacking(forest, line, forest_weight, line_weight, intercept)

    def load(self, folder: Path, threads: int) -> Stacking:
        """Stack that `save` wrote."""
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        forest = load_votes(RandomForestKind.name, folder, threads)
        line = LogisticRegressionKind().load(folder, threads)
        return Stacking(forest, line, facts["forest"], facts["line"], facts["intercept"])


def _require_variety(rows: FitRows, folds: int) -> None:
    for side, code in (("benign", 0), ("attack", 1)):
        distinct = len(np.unique(rows.groups[rows.attack == code]))
        if distinct < 2 * folds:
            raise TrainingError(
                f"{distinct} distinct {side} rows: a stack of {folds} folds needs at least {2 * folds} of benign and "
                "of attack; load more, or choose another detector"
            )


def _held_out(rows: FitRows, params: StackingParams, seed: int, threads: int) -> Floats:
    """(rows, 2): what a forest and a regression say of rows that they were not fitted on."""
    folds = rows.folds(params.folds, seed)
    said = np.zeros((len(rows), 2))
    for fold in range(params.folds):
        forest, line = _fit_both(rows.where(folds != fold), params, seed, threads)
        out = rows.matrix[folds == fold]
        said[folds == fold] = np.column_stack([forest.votes.margin(out), line.log_odds(out)])
    return said


def _fit_both(rows: FitRows, params: StackingParams, seed: int, threads: int) -> tuple[VotingTrees, LogisticRegression]:
    forest = RandomForestKind().fit(rows, params.random_forest, seed, threads)
    return forest, LogisticRegressionKind().fit(rows, params.logistic_regression, seed, threads)


def _weigh(
    said: Floats, attack: npt.NDArray[np.int8], weights: npt.NDArray[np.float32], params: LogisticRegressionParams
) -> tuple[float, float, float]:
    from sklearn.linear_model import LogisticRegression as Model  # noqa: PLC0415 - serving never fits

    model = Model(C=params.C, max_iter=10_000).fit(said, attack, weights)
    return float(model.coef_[0, 0]), float(model.coef_[0, 1]), float(model.intercept_[0])
