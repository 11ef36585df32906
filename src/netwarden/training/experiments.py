"""Protocols carried out: detectors and trivial models fitted over several seeds, and what their figures come to.

A seed draws the inner parts of the training rows anew and seeds every fit. Intervals are bootstrap intervals of the
mean over seeds: rows and seeds are drawn with replacement, a row with the same weight for every seed that it judges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netwarden.errors import DataCheckError
from netwarden.evaluation.metrics import Outcome, flat, measure
from netwarden.evaluation.protocols import MIN_HELD_OUT_ROWS, Protocol, Round, without_test_rows
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params
from netwarden.training.baselines import BASELINES, Judge, fit_judge
from netwarden.training.rounds import OpenRound, open_round, seeded

BUDGETS = (0.001, 0.01, 0.05)
PREVALENCES = (0.001, 0.01, 0.1)

_DRAWS = 1000
_CONFIDENCE = 0.95

Marks = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]
Floats = npt.NDArray[np.float64]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Figure:
    """One figure over seeds. `interval`: where its mean lies with 95 % confidence, None where no bootstrap says."""

    each: tuple[float, ...]
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        return float(np.mean(self.each))

    @property
    def spread(self) -> float:
        """Largest less smallest over seeds."""
        return max(self.each) - min(self.each)


@dataclass(frozen=True)
class Result:
    """Figures of one model on the rows that one round (or one subset of them) holds out, over all seeds.

    Names are those of `measure`, with the budget: `recall@0.01`; those without one hold for every budget.
    """

    held_out: str
    model: str
    rows: int
    figures: dict[str, Figure]


@dataclass(frozen=True)
class _Run:
    """One model of one seed: the rows it judged (places in the table), what is true and said of each, and its figures.

    `marks`: per row whether it is an attack, one that training had not, and whether it alerts at each of BUDGETS.
    """

    rows: npt.NDArray[np.int64]
    marks: Marks
    figures: dict[str, float]


def run_protocol(
    protocol: Protocol,
    table: FlowTable,
    schema: FlowSchema,
    params: Params,
    seeds: Sequence[int],
    models: Sequence[str] = (),
    say: Say = lambda _: None,
) -> list[Result]:
    """Results of each model (default: the detector of `params`, then the baselines) on each round of a protocol."""
    chosen = tuple(dict.fromkeys(models or (params.train.detector, *BASELINES)))
    table = table if protocol.looks else without_test_rows(table, schema, params.transform)
    per_day = params.evaluate.flows_per_day
    runs: dict[tuple[str, str], list[_Run]] = {}
    for seed in seeds:
        drawn = seeded(params, seed)
        for division in protocol.divide(table, schema, drawn.transform):
            rows = open_round(division, table, schema, drawn.transform)
            for model in chosen:
                outcomes, fit_s = _judged(model, rows, drawn)
                for held_out, judging in _held_out(division, rows).items():
                    run = _run(rows, judging, outcomes, per_day, fit_s)
                    runs.setdefault((held_out, model), []).append(run)
                # Without a figure: whoever stops a run half-way has not looked.
                say(" ".join(filter(None, (protocol.name, division.name, f"seed {seed}: {model}"))))
    if not runs:
        raise DataCheckError(
            f"{protocol.name} finds nothing to hold out among the training rows of schema {schema.id}: it takes "
            f"several kinds of attacks with at least {MIN_HELD_OUT_ROWS} rows each"
        )
    return [_result(held_out, model, each, per_day) for (held_out, model), each in runs.items()]


# --- one seed ---------------------------------------------------------------------------------------------------


def _held_out(division: Round, rows: OpenRound) -> dict[str, Marks]:
    """What is held out, by name: all rows that judge, where they are judged as a whole, and each subset of them."""
    every = {"": np.ones(len(rows.places), np.bool_)} if division.whole else {}
    parts = every | {name: marked[rows.places] for name, marked in division.subsets.items()}
    return {" ".join(filter(None, (division.name, name))): judging for name, judging in parts.items()}


def _judged(model: str, rows: OpenRound, params: Params) -> tuple[dict[float, Outcome], float]:
    """What a model fitted on a round says of the rows that judge, by budget, and how long the fit took."""
    started = time.perf_counter()
    judge = fit_judge(model, rows.training, rows.preprocessor, params, BUDGETS)
    fit_s = time.perf_counter() - started
    return _outcomes(judge, rows.matrix, rows.labels, rows.families), fit_s


def _outcomes(judge: Judge, matrix: npt.NDArray[np.float32], labels: Texts, families: Texts) -> dict[float, Outcome]:
    """By budget; rows are named once, at the lowest threshold."""
    scores = judge.score(matrix)
    suspects = scores >= min(judge.thresholds.values())
    named, nearest = (_named(suspects, of(matrix[suspects])) for of in (judge.name, judge.nearest))
    outcomes = {}
    for budget, threshold in judge.thresholds.items():
        alerts = scores >= threshold
        answers = (np.where(alerts, answer, BENIGN).astype(str) for answer in (named, nearest))
        outcomes[budget] = Outcome(labels, families, scores, alerts, *answers)
    return outcomes


def _named(suspects: Marks, names: Texts) -> npt.NDArray[np.object_]:
    every = np.full(len(suspects), BENIGN, dtype=object)
    every[suspects] = names
    return every


def _run(rows: OpenRound, judging: Marks, judged: Mapping[float, Outcome], per_day: int, fit_s: float) -> _Run:
    outcomes = {budget: outcome.where(judging) for budget, outcome in judged.items()}
    figures = {"fit_s": fit_s}
    for budget, outcome in outcomes.items():
        found = flat(measure(outcome, rows.seen, budget, per_day)) | _in_service(outcome, per_day)
        figures |= {f"{name}@{budget:g}": value for name, value in found.items()}
    first = next(iter(outcomes.values()))
    unseen = first.attack & ~np.isin(first.labels, list(rows.seen))
    alerts = [outcomes[budget].alerts for budget in BUDGETS]
    return _Run(rows.places[judging], np.column_stack([first.attack, unseen, *alerts]), figures)


def _in_service(outcome: Outcome, per_day: int) -> dict[str, float]:
    """What recall and false positive rate come to where attacks are as rare as they are."""
    attack = outcome.attack
    if attack.all() or not attack.any():
        return {}
    recall, rate = (np.asarray(outcome.alerts[side].mean()) for side in (attack, ~attack))
    return {
        name: float(value)
        for name, value in where_attacks_are_rare(recall, rate, per_day).items()
        if np.isfinite(value)
    }


def where_attacks_are_rare(recall: Floats, false_positive_rate: Floats, per_day: int) -> dict[str, Floats]:
    """Expected precision, and alerts on a day of so many benign flows, where each of PREVALENCES of all are attacks.

    Where nothing alerts, precision is not a number.
    """
    figures = {}
    for rare in PREVALENCES:
        hits, wrong = recall * rare, false_positive_rate * (1 - rare)
        with np.errstate(invalid="ignore"):
            figures[f"precision_at_{rare:g}"] = hits / (hits + wrong)
        figures[f"alerts_per_day_at_{rare:g}"] = per_day * (hits + wrong) / (1 - rare)
    return figures


# --- over seeds -------------------------------------------------------------------------------------------------


def _result(held_out: str, model: str, runs: Sequence[_Run], per_day: int) -> Result:
    common = [name for name in runs[0].figures if all(name in run.figures for run in runs)]
    intervals = _intervals(runs, per_day)
    figures = {name: Figure(tuple(run.figures[name] for run in runs), intervals.get(name)) for name in common}
    return Result(held_out, model, len(runs[0].rows), figures)


def _intervals(runs: Sequence[_Run], per_day: int) -> dict[str, tuple[float, float]]:
    """Bootstrap interval of each rate that rows decide one by one, and of what follows from such rates."""
    rng = np.random.default_rng(0)
    kinds, counts = _kinds_of_rows(runs)
    weights = rng.poisson(counts, (_DRAWS, len(counts))).astype(np.float64)
    seeds = rng.integers(len(runs), size=(len(runs), _DRAWS))
    rates = [_rates(kinds[:, at], weights, per_day) for at in range(len(runs))]
    tail = (1 - _CONFIDENCE) / 2
    found = {}
    for name in rates[0]:
        means = np.take_along_axis(np.array([each[name] for each in rates]), seeds, axis=0).mean(axis=0)
        if np.isfinite(means).all():
            found[name] = (float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail)))
    return found


def _kinds_of_rows(runs: Sequence[_Run]) -> tuple[Marks, npt.NDArray[np.int64]]:
    """Rows of equal marks in every run as one, (kinds, runs, 1 + marks), and how many rows each stands for.

    The first mark says whether the run judged the row. Rows of one kind change no rate when they change places, and
    their weights add up to a Poisson number as well: drawing kinds is drawing rows.
    """
    rows = np.unique(np.concatenate([run.rows for run in runs]))
    marks = np.zeros((len(rows), len(runs), 1 + runs[0].marks.shape[1]), np.bool_)
    for at, run in enumerate(runs):
        places = np.searchsorted(rows, run.rows)
        marks[places, at, 0] = True
        marks[places, at, 1:] = run.marks
    packed = np.packbits(marks.reshape(len(rows), -1), axis=1)
    _, first, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return marks[first], np.asarray(counts, np.int64)


def _rates(marks: Marks, weights: Floats, per_day: int) -> dict[str, Floats]:
    """Rates per draw of rows; not a number where a draw has none of the rows that a rate is about."""
    judged, attack, unseen = marks[:, :3].T
    rates = {}
    for at, budget in enumerate(BUDGETS):
        alerts = marks[:, 3 + at]
        wrong = judged & ~attack & alerts
        hits, missed, false = (weights @ each for each in (attack & alerts, attack & ~alerts, wrong))
        seen = attack & ~unseen
        with np.errstate(invalid="ignore"):
            rates[f"accuracy@{budget:g}"] = 1 - (missed + false) / (weights @ judged)
            rates[f"f1@{budget:g}"] = 2 * hits / (2 * hits + missed + false)
            rates[f"recall@{budget:g}"] = hits / (hits + missed)
            rates[f"false_positive_rate@{budget:g}"] = false / (weights @ (judged & ~attack))
            rates[f"recall_seen_attacks@{budget:g}"] = weights @ (seen & alerts) / (weights @ seen)
            rates[f"recall_unseen_attacks@{budget:g}"] = weights @ (unseen & alerts) / (weights @ unseen)
        rare = where_attacks_are_rare(rates[f"recall@{budget:g}"], rates[f"false_positive_rate@{budget:g}"], per_day)
        rates |= {f"{name}@{budget:g}": values for name, values in rare.items()}
    return rates
