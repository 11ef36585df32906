"""From evidence to decision: scores that read as probabilities, and the threshold that a false-positive budget buys."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from netwarden.detectors.base import Scores
from netwarden.detectors.log_odds import log_odds, probability
from netwarden.errors import ConfigError, TrainingError

BUDGETS = tuple(float(f"{digit}e-{power}") for power in (5, 4, 3, 2, 1) for digit in (1, 1.5, 2, 3, 5, 7))[:-1]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Calibration(_Frozen):
    """Platt's line on the log-odds of the raw score. Its slope is positive, so the order of rows never changes."""

    slope: float = Field(gt=0)
    intercept: float
    rows: int = Field(ge=0)

    def apply(self, raw: Scores) -> Scores:
        """Scores in [0, 1] in which 0.8 means: 8 of 10 such rows were attacks among the calibration rows."""
        return probability(self.slope * log_odds(raw) + self.intercept)


def fit_calibration(raw: Scores, labels: npt.NDArray[np.int8]) -> Calibration:
    """Calibration fitted on rows that the detector was not trained on (Platt 1999, with his smoothed targets).

    Not isotonic: its steps would tie rows that the detector tells apart, and thresholds fall where few rows are.
    Raises TrainingError where a class is missing or where attacks score no higher than benign rows.
    """
    attacks = int(np.count_nonzero(labels))
    benign = len(labels) - attacks
    if not attacks or not benign:
        raise TrainingError(f"calibration needs benign and attack rows; it was given {benign} and {attacks}")
    targets = np.where(labels == 1, (attacks + 1) / (attacks + 2), 1 / (benign + 2))
    slope, intercept = _fit_line(log_odds(raw), targets)
    if not slope > 0:
        raise TrainingError(
            f"attacks score no higher than benign rows on {len(labels)} held-out rows: the detector has learned "
            "nothing that holds there; are the labels right?"
        )
    return Calibration(slope=slope, intercept=intercept, rows=len(labels))


class BudgetRow(_Frozen):
    """What one budget buys. `interval`: where the true false positive rate lies, with 95 % confidence.

    `recall` is of the validation rows, which choose neither threshold nor detector; None: nobody has measured it.
    """

    budget: float
    threshold: float
    realised: float
    interval: tuple[float, float]
    recall: float | None = None


class Threshold(_Frozen):
    """The threshold in force, the budget that chose it, and what it did on `rows` benign rows set aside for that."""

    value: float = Field(ge=0, le=1)
    budget: float = Field(gt=0, lt=1)
    realised: float = Field(ge=0, le=1)
    interval: tuple[float, float]
    rows: int = Field(ge=1)
    table: tuple[BudgetRow, ...] = Field(description="Budgets that these rows can tell apart, and the one that chose")

    def moved(self, budget: float) -> Threshold:
        """Threshold of another budget: that of the largest budget in the table which is no larger.

        Raises ConfigError for a budget below all of the table: its rows are too few to say anything about it.
        """
        affordable = [row for row in self.table if row.budget <= budget * (1 + 1e-9)]
        if not affordable:
            raise ConfigError(
                f"a budget of {budget:.4%} is below what this bundle can promise: its threshold was chosen on "
                f"{self.rows} benign flows, which tell budgets from {self.table[0].budget:.4%} on; train with more"
            )
        row = affordable[-1]
        facts = {"value": row.threshold, "budget": budget, "realised": row.realised, "interval": row.interval}
        return self.model_copy(update=facts)

    def with_recall(self, attack_scores: Scores) -> Threshold:
        """The same threshold with what each budget of the table finds of these attacks, where there are any."""
        if not len(attack_scores):
            return self
        table = tuple(
            row.model_copy(update={"recall": float(np.mean(attack_scores >= row.threshold))}) for row in self.table
        )
        return self.model_copy(update={"table": table})


def budget_of(alerts_per_day: float, benign_flows_per_day: float) -> float:
    """Budget that allows so many false alerts a day at that traffic. Raises ConfigError where there is none."""
    budget = alerts_per_day / benign_flows_per_day
    if not 0 < budget < 1:
        raise ConfigError(
            f"{alerts_per_day:g} false alerts a day of {benign_flows_per_day:g} benign flows are no budget: it must be "
            "a share above 0 and below 1"
        )
    return budget


def choose_threshold(benign_scores: Scores, budget: float) -> Threshold:
    """Lowest threshold at which at most `budget` of the benign rows alert, with the table of other budgets.

    Give it calibrated scores of benign rows that served neither training nor calibration. Rows of equal score alert
    together or not at all, so the realised share may stay below the budget. Raises TrainingError without rows.
    """
    if not len(benign_scores):
        raise TrainingError("no benign rows were set aside to choose a threshold on")
    falling = np.sort(benign_scores)[::-1]
    told_apart = {
        each for each in BUDGETS if each * len(falling) >= 1 - 1e-9 and falling[_allowed(each, len(falling))] < 1
    }
    table = tuple(_buy(falling, each) for each in sorted({*told_apart, budget}))
    chosen = next(row for row in table if row.budget == budget)
    return Threshold(
        value=chosen.threshold,
        budget=budget,
        realised=chosen.realised,
        interval=chosen.interval,
        rows=len(falling),
        table=table,
    )


def _buy(falling: Scores, budget: float) -> BudgetRow:
    first_kept = float(falling[_allowed(budget, len(falling))])
    above = falling[falling > first_kept]
    next_higher = float(above[-1]) if len(above) else 1.0
    if first_kept >= 1.0:
        raise TrainingError(f"more than {budget:.2%} of benign rows score 1: no threshold keeps this budget")
    # Between the two scores: rounding on another machine then moves no row across it.
    value = max((first_kept + next_higher) / 2, math.nextafter(first_kept, 1.0))
    return BudgetRow(
        budget=budget,
        threshold=value,
        realised=len(above) / len(falling),
        interval=clopper_pearson(len(above), len(falling)),
    )


def _allowed(budget: float, rows: int) -> int:
    """Rows that may alert; 0.07 * 100 is 7.000000000000001, and 0.29 * 100 is below 29."""
    return math.floor(budget * rows + 1e-9)


def clopper_pearson(hits: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share (Clopper & Pearson 1934)."""
    from scipy.special import betaincinv  # noqa: PLC0415 - serving never needs it

    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, rows - hits + 1, tail))
    high = 1.0 if hits == rows else float(betaincinv(hits + 1, rows - hits, 1 - tail))
    return low, high


def _fit_line(x: Scores, targets: Scores) -> tuple[float, float]:
    """Slope and intercept of least log loss."""
    from scipy.optimize import minimize  # noqa: PLC0415 - serving never needs it

    def loss(line: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        z = line[0] * x + line[1]
        off = (probability(z) - targets) / len(x)
        return float(np.mean(np.logaddexp(0.0, z) - targets * z)), np.array([np.sum(off * x), np.sum(off)])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return float(slope), float(intercept)
