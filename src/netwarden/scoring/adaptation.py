"""A bundle's detector and threshold made to fit the flows of another network, attacks hidden among them or not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Detector, FitRows, Matrix, Scores
from netwarden.detectors.bundle import DetectorBundle
from netwarden.detectors.log_odds import log_odds
from netwarden.detectors.reference import Reference, describe_training
from netwarden.detectors.threshold import Threshold, choose_threshold
from netwarden.errors import InputError
from netwarden.flows.labels import BENIGN

LEAST_ROWS = 1_000
MOST_ASIDE = 0.02  # share of the sample that may be taken for attacks

Marks = npt.NDArray[np.bool_]

_SURE = 0.05  # the tail is judged by the evidence that this share of the rows exceeds, and by that of larger shares
_LARGER = (0.25, 0.5, 0.1)
_NEARLY = 0.9
_SPARED = 2.0  # of the oddest rows, so many times the share that may be set aside shape no novelty: then none is left
_PASSES = 2  # of fitting novelty without the oddest rows; the first still knows them by the other network


@dataclass(frozen=True)
class Adapted:
    """What changes in the bundle, which rows were set aside, and the share of rows that alert before and after."""

    detector: Detector
    threshold: Threshold
    reference: Reference
    set_aside: Marks
    before: float
    after: float


def adapt(bundle: DetectorBundle, matrix: Matrix, budget: float, most_aside: float = MOST_ASIDE) -> Adapted:
    """Detector whose sense of the usual is these rows', with the threshold that the budget buys on them.

    The trees stay. At most `most_aside` of the rows, those far beyond the tail of the others, are set aside as likely
    attacks: they shape neither novelty nor threshold. Twice as many rows, the oddest, are in any case not taken for
    usual, whatever the tail says: what is usual can do without them, and few hidden attacks are enough to teach it
    theirs.
    Half of the rows refit, the other half choose the threshold and are counted before and after; a detector that keeps
    nothing about benign rows needs no first half.
    Raises InputError where the rows are too few.
    """
    _require_rows(len(matrix), budget)
    half = _half(matrix, bundle.preprocessor.categorical)
    origin = bundle.detector
    fixed = origin.adapted(matrix[:LEAST_ROWS]) is origin
    judged = np.ones(len(matrix), bool) if fixed else half
    oddness = _oddness(origin, matrix, ~half, most_aside)
    set_aside = beyond_the_tail(oddness, most_aside)
    detector = origin if fixed else origin.adapted(matrix[~half & _usual(oddness, most_aside) & ~set_aside])
    scores = bundle.calibration.apply(detector.score(matrix))
    quiet = scores[judged & ~set_aside]
    threshold = choose_threshold(quiet, budget)
    earlier = bundle.calibration.apply(origin.score(matrix[judged]))
    return Adapted(
        detector,
        threshold,
        describe_training(matrix, set_aside.astype(np.int8), scores, quiet, bundle.preprocessor),
        set_aside,
        float(np.mean(earlier >= bundle.threshold)),
        float(np.mean(scores[judged] >= threshold.value)),
    )


def least_rows(budget: float) -> int:
    """Flows that a budget takes: one row of a half may then alert."""
    return max(LEAST_ROWS, int(np.ceil(2 / budget * (1 + MOST_ASIDE))))


def _half(matrix: Matrix, categorical: tuple[bool, ...]) -> Marks:
    """Half of the rows by lot; equal rows together."""
    names = np.full(len(matrix), BENIGN)
    return np.asarray(FitRows.of(matrix, names, names, categorical).folds(2, seed=0) == 0, np.bool_)


def _require_rows(rows: int, budget: float) -> None:
    least = least_rows(budget)
    if rows < least:
        raise InputError(
            f"{rows:,} flows are too few to calibrate a budget of {budget:.4%} on; give at least {least:,}, of all "
            "hours of a week if you can"
        )


def _oddness(origin: Detector, matrix: Matrix, fitting: Marks, most: float) -> Scores:
    """Scores by a detector adapted without the oddest rows."""
    scores = origin.score(matrix)
    for _ in range(_PASSES):
        scores = origin.adapted(matrix[fitting & _usual(scores, most)]).score(matrix)
    return scores


def _usual(oddness: Scores, most: float) -> Marks:
    """All rows but the oddest, twice as many as may be set aside."""
    return np.asarray(oddness <= np.quantile(oddness, 1 - _SPARED * most), np.bool_)


def beyond_the_tail(scores: Scores, most: float) -> Marks:
    """Rows whose evidence the others' tail does not explain, at most that share of all.

    The tail of the log-odds is taken to fall exponentially, as it does between quantiles that few hidden attacks cannot
    move. The cut is where rows exceed what the tail predicts by nearly the most, because the last few of that excess
    cost many rows of a tail slightly longer than predicted; it counts only where over a third of the rows are
    unexplained, beyond chance.
    """
    falling = np.sort(log_odds(scores))[::-1]
    ranks = np.arange(1, int(most * len(falling)) + 1)
    ends = ranks[falling[ranks - 1] > falling[ranks]]  # equal rows together; none where nothing may be set aside
    if not len(ends):
        return np.zeros(len(scores), bool)
    predicted = len(falling) * _SURE * np.exp(-(falling[ends - 1] - _at(falling, _SURE)) / _fall(falling))
    excess = ends - predicted
    most_odd = int(np.argmax(excess))
    if excess[most_odd] <= predicted[most_odd] / 2 + 3 * np.sqrt(predicted[most_odd]) + 3:
        return np.zeros(len(scores), bool)
    cut = int(np.argmax(excess >= _NEARLY * excess[most_odd]))
    return np.asarray(log_odds(scores) >= falling[ends[cut] - 1], np.bool_)


def _at(falling: npt.NDArray[np.float64], share: float) -> float:
    """Evidence that a share of the rows exceeds."""
    return float(falling[int(share * len(falling))])


def _fall(falling: npt.NDArray[np.float64]) -> float:
    """Evidence over which the tail falls to 1 / e; next to nothing where nearly all rows are alike."""
    sure = _at(falling, _SURE)
    falls = [(sure - _at(falling, share)) / np.log(share / _SURE) for share in _LARGER]
    return next((float(each) for each in falls if each > 0), 1e-9)
