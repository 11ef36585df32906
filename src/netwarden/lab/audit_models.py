"""What boosted trees, and what trivial models, make of the test day: each fits on the training days, takes a threshold
from benign rows of the validation day at a budget of 0.1 %, and is judged on the test day.

This judges the dataset. No model, feature or threshold of Netwarden is chosen by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.base import Detector, FitRows
from netwarden.detectors.kinds import detector_kind
from netwarden.evaluation.split import FIT, TEST, THRESHOLD
from netwarden.flows.labels import BENIGN
from netwarden.flows.truth import ATTACK
from netwarden.lab.days import Days, Marks, Matrix, Texts
from netwarden.params import TransformParams

BUDGET = 0.001
STRONGEST = 5
MODELS = ("boosted trees", "logistic regression", "best feature", "best feature per attack", "majority")
_THREADS = 1  # the fits are small; several threads wait for each other where the machine has other work
_BINS = 128
_TAILS = (0.0001, 0.0005, 0.001, 0.999, 0.9995, 0.9999)

Scores = npt.NDArray[np.float64]
Score = Callable[[Matrix], Scores]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Round:
    """The rows of one seed: a bootstrap of the training days, and a draw from the benign rows of the validation day."""

    seed: int
    fit: Rows
    quiet: Rows  # benign rows that set the threshold
    chosen_on: Rows  # rows of the validation day on which a single feature is chosen
    test: Rows


@dataclass(frozen=True)
class Verdicts:
    """Alerts of one model on the test rows of one seed; `auc` over all of them, None where a model has no scores."""

    model: str
    seed: int
    alerts: Marks
    auc: float | None = None
    note: str = ""


def rounds(days: Days, seeds: int, params: TransformParams) -> Iterator[Round]:
    """One round per seed, 1 and up."""
    for seed in range(1, seeds + 1):
        parts = days.parts(seed, params)
        rng = np.random.default_rng(seed)
        fit = np.flatnonzero(parts == FIT)
        quiet = np.flatnonzero((parts == THRESHOLD) & ~days.attack)
        others = np.flatnonzero((parts != FIT) & (parts != THRESHOLD) & (parts != TEST))
        yield Round(seed, np.sort(rng.choice(fit, len(fit))), quiet, others, np.flatnonzero(parts == TEST))


def verdicts(days: Days, at: Round) -> list[Verdicts]:
    """What each of MODELS says of the test rows."""
    matrix, attack = days.matrix, days.attack
    trees = _judged("boosted trees", fit_trees(matrix[at.fit], attack[at.fit], at.seed).score, days, at)
    line = _judged("logistic regression", fit_line(matrix[at.fit], attack[at.fit]), days, at)
    quiet = np.zeros(len(at.test), bool)
    return [trees, line, *_single_features(days, at), Verdicts("majority", at.seed, quiet, 0.5)]


def without_strongest(days: Days, at: Round) -> Verdicts:
    """Boosted trees without the five features that the full trees lean on most; the note names these."""
    full = fit_trees(days.matrix[at.fit], days.attack[at.fit], at.seed)
    strongest = _strongest(full, days.matrix[_some(at, days.attack)])
    kept = [place for place in range(len(days.features)) if place not in strongest]
    score = on_columns(days, at, kept)
    names = ", ".join(days.features[place] for place in strongest)
    return _judged("without the strongest", score, days, at, names)


def only(days: Days, at: Round, columns: Sequence[str]) -> Verdicts:
    """Boosted trees that see these features and no others."""
    return _judged("only", on_columns(days, at, [days.features.index(name) for name in columns]), days, at)


def on_columns(days: Days, at: Round, columns: Sequence[int]) -> Score:
    """Boosted trees fitted on some columns of the matrix; the function takes whole rows."""

    def picked(rows: Matrix) -> Matrix:
        return np.ascontiguousarray(rows[:, list(columns)])

    detector = fit_trees(picked(days.matrix[at.fit]), days.attack[at.fit], at.seed)
    return lambda rows: detector.score(picked(rows))


def threshold_of(benign: Scores, budget: float = BUDGET) -> float:
    """Score above which at most the budget's share of benign rows lies; equal scores alert together or not at all."""
    return float(np.sort(benign)[::-1][int(budget * len(benign))])


def auc_of(attack: Marks, scores: Scores) -> float:
    """ROC AUC; 0.5 where there is nothing to tell apart."""
    return 0.5 if attack.all() or not attack.any() else float(roc_auc_score(attack, scores))


# --- models -----------------------------------------------------------------------------------------------------


def fit_trees(matrix: Matrix, attack: Marks, seed: int) -> Detector:
    """Boosted trees with the parameters that ship, without a family head."""
    families = np.where(attack, ATTACK, BENIGN)
    rows = FitRows.of(matrix, families, families, (False,) * matrix.shape[1])
    return detector_kind("boosted_trees").fit(rows, XgbClassifierParams(), seed, _THREADS)


def fit_line(matrix: Matrix, attack: Marks) -> Score:
    """Logistic regression on logarithms, standardised, with a column that says what was missing."""
    shown, mean, spread = _scale(matrix)
    model = LogisticRegression(max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a line that is nearly there serves as a baseline
        model.fit((shown - mean) / spread, attack)

    def score(rows: Matrix) -> Scores:
        return np.asarray(model.decision_function((_logs(rows) - mean) / spread), np.float64)

    return score


def _scale(matrix: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    shown = _logs(matrix)
    spread = shown.std(axis=0)
    return shown, shown.mean(axis=0), np.where(spread > 0, spread, np.float32(1))


def _logs(matrix: Matrix) -> Matrix:
    filled = np.nan_to_num(matrix, nan=0.0)
    return np.hstack([np.sign(filled) * np.log1p(np.abs(filled)), np.isnan(matrix)]).astype(np.float32)


def _judged(model: str, score: Score, days: Days, at: Round, note: str = "") -> Verdicts:
    told = score(days.matrix[at.test])
    alerts = told > threshold_of(score(days.matrix[at.quiet]))
    return Verdicts(model, at.seed, alerts, auc_of(days.attack[at.test], told), note)


def _some(at: Round, attack: Marks, most: int = 1000) -> Rows:
    """Up to so many benign and as many attack rows of the training days."""
    rng = np.random.default_rng(at.seed)
    return np.concatenate([rng.permutation(at.fit[attack[at.fit] == side])[:most] for side in (False, True)])


def _strongest(detector: Detector, matrix: Matrix) -> list[int]:
    shares = np.abs(detector.contributions(matrix)).sum(axis=(0, 1))[:-1]
    return sorted(np.argsort(-shares, kind="stable")[:STRONGEST].tolist())


# --- one feature ------------------------------------------------------------------------------------------------


def bins_of(values: npt.NDArray[np.float32], benign: Marks) -> npt.NDArray[np.int64]:
    """Bin of each row: each value where there are few, else quantiles of the benign rows with fine tails.

    Missing values are bin 0; the others follow in order.
    """
    there = ~np.isnan(values)
    edges = np.unique(values[there])
    if len(edges) > 2 * _BINS:
        shares = np.unique(np.concatenate([np.linspace(0, 1, _BINS + 1), _TAILS]))
        base = values[there & benign]
        edges = np.unique(np.quantile(base, shares)) if len(base) else edges[:: len(edges) // _BINS]
    bins = np.zeros(len(values), np.int64)
    bins[there] = 1 + np.searchsorted(edges, values[there], side="right")
    return bins


def attack_share(bins: npt.NDArray[np.int64], attack: Marks, weights_to: int) -> Scores:
    """Per bin, the share of attacks among its rows, drawn towards the share of all where rows are few."""
    count = np.bincount(bins, minlength=weights_to)
    hits = np.bincount(bins, weights=attack, minlength=weights_to)
    return np.asarray((hits + attack.mean()) / (count + 1), np.float64)


def _single_features(days: Days, at: Round) -> list[Verdicts]:
    """The feature that does best on the validation day; and per attack the one that does best on the test day itself,
    which nobody could have known: an upper bound.
    """
    found, best = [], -1.0
    fitting = np.zeros(len(days), bool)
    fitting[at.fit] = True
    chosen, name = np.zeros(len(at.test), bool), "none"
    for place, feature in enumerate(days.features):
        bins = bins_of(days.matrix[:, place], fitting & ~days.attack)
        scores = attack_share(bins[at.fit], days.attack[at.fit], int(bins.max()) + 1)[bins]
        limit = threshold_of(scores[at.quiet])
        told = float((scores[at.chosen_on] > limit)[days.attack[at.chosen_on]].mean())
        found.append(scores[at.test] > limit)
        if told > best:
            best, chosen, name = told, found[-1], feature
    oracle = _oracle(np.array(found), days.variants[at.test])
    return [
        Verdicts("best feature", at.seed, chosen, note=name),
        Verdicts("best feature per attack", at.seed, oracle),
    ]


def _oracle(alerts: npt.NDArray[np.bool_], variants: Texts) -> Marks:
    """Alerts on each attack by its best feature; none on benign rows, which belong to no attack."""
    chosen = np.zeros(alerts.shape[1], bool)
    for variant in np.unique(variants[variants != BENIGN]):
        rows = variants == variant
        chosen[rows] = alerts[int(np.argmax(alerts[:, rows].mean(axis=1)))][rows]
    return chosen


def group_of(days: Days, fit: Marks) -> dict[str, str]:
    """Each attack variant of the test day: `seen`, `other tool` (the attack was seen, not by this tool) or `unseen`."""
    variants, labels = set(days.variants[fit].tolist()), set(days.labels[fit].tolist())
    rows = days.attack & (days.splits == "test")
    pairs: Sequence[tuple[str, str]] = sorted(
        set(zip(days.variants[rows].tolist(), days.labels[rows].tolist(), strict=True))
    )
    return {
        variant: "seen" if variant in variants else "other tool" if label in labels else "unseen"
        for variant, label in pairs
    }
