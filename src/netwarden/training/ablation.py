"""What resampling is worth: the same detector on the same rows, rare families left as they are, weighted or grown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from netwarden.detectors.verdicts import nearest_families
from netwarden.evaluation.metrics import Outcome, measure
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params, ResampleParams
from netwarden.training.fit import fit_and_calibrate, judge
from netwarden.training.rounds import OpenRound, open_round, seeded
from netwarden.training.rows import TrainingRows
from netwarden.training.selection import hold_out_types

METHODS: tuple[str, ...] = get_args(ResampleParams.model_fields["method"].annotation)

_FIGURES = {  # heading: which attacks beside benign rows, name of the figure
    "family macro-F1, seen": ("seen", "nearest_family_macro_f1"),
    "family macro-F1, held out": ("unseen", "nearest_family_macro_f1"),
    "recall, seen": ("seen", "recall"),
    "recall, held out": ("unseen", "recall"),
    "false positives": ("seen", "false_positive_rate"),
}


@dataclass(frozen=True)
class Resampled:
    """Figures of one way of resampling by heading, one a seed."""

    method: str
    figures: dict[str, tuple[float, ...]]


def compare_resampling(
    table: FlowTable,
    schema: FlowSchema,
    params: Params,
    seeds: Sequence[int],
    say: Callable[[str], None] = lambda _: None,
) -> list[Resampled]:
    """Every method on the detector that `params` name, on training rows with attack names held out in groups.

    Validation rows of names still known judge, and all rows of those held out; a family is the one that the detector's
    head finds likeliest for an alert. A seed's rounds are judged together, so that every name is held out once.
    """
    held_out = hold_out_types(table, schema, params, seeds)
    runs: dict[str, dict[int, list[_Run]]] = {method: {seed: [] for seed in seeds} for method in METHODS}
    for seed, division in held_out.rounds:
        drawn = seeded(params, seed)
        rows = open_round(division, held_out.table, schema, drawn.transform)
        for method in METHODS:
            runs[method][seed].append(_run(rows, _with(drawn, method)))
            say(f"seed {seed}, {division.name}: {method}")
    return [_over_seeds(method, list(each.values())) for method, each in runs.items()]


def resampling_table(results: Sequence[Resampled], detector: str, seeds: int) -> str:
    """Markdown table: a row per method, means over seeds ± largest less smallest."""
    headings = ["resampling", *results[0].figures]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    for each in results:
        cells = [f"{np.mean(values):.4f} ± {max(values) - min(values):.4f}" for values in each.figures.values()]
        lines.append(f"| {' | '.join([each.method, *cells])} |")
    return (
        f"{detector} on the training rows, attack names held out in groups; mean over {seeds} seeds ± spread (largest "
        "less smallest).\n\n" + "\n".join(lines)
    )


@dataclass(frozen=True)
class _Run:
    """What a detector made of the rows of a round; `unseen` marks the attacks held out."""

    outcome: Outcome
    unseen: npt.NDArray[np.bool_]
    seen_names: frozenset[str]
    budget: float
    fit_s: float


def _run(rows: OpenRound, params: Params) -> _Run:
    started = time.perf_counter()
    made = fit_and_calibrate(rows.training, rows.preprocessor, params)
    fit_s = time.perf_counter() - started
    parts = np.full(len(rows.labels), "")
    outcome = judge(TrainingRows(rows.matrix, rows.labels, rows.families, parts), made)
    nearest = outcome.predicted.astype(object)
    nearest[outcome.alerts] = nearest_families(made.detector, rows.matrix[outcome.alerts])
    unseen = (rows.labels != BENIGN) & ~np.isin(rows.labels, list(rows.seen))
    return _Run(replace(outcome, nearest=nearest.astype(str)), unseen, rows.seen, made.threshold.budget, fit_s)


def _over_seeds(method: str, seeds: Sequence[Sequence[_Run]]) -> Resampled:
    figures: dict[str, tuple[float, ...]] = {}
    for heading, (which, name) in _FIGURES.items():
        figures[heading] = tuple(_figure(runs, which, name) for runs in seeds)
    figures["fit, s"] = tuple(float(np.mean([run.fit_s for run in runs])) for runs in seeds)
    return Resampled(method, figures)


def _figure(runs: Sequence[_Run], which: str, name: str) -> float:
    """A figure of the rows of all rounds together: benign ones, and the attacks seen or unseen in their round."""
    picked = [run.outcome.where(~run.unseen if which == "seen" else run.unseen | ~run.outcome.attack) for run in runs]
    whole = Outcome(
        *(
            np.concatenate([getattr(each, field) for each in picked])
            for field in ("labels", "families", "scores", "alerts", "predicted", "nearest")
        )
    )
    return float(measure(whole, runs[0].seen_names, runs[0].budget)[name])


def _with(params: Params, method: str) -> Params:
    resample = params.train.resample.model_copy(update={"method": method})
    return params.model_copy(update={"train": params.train.model_copy(update={"resample": resample})})
