"""What parameters are chosen by: how much of attacks that training has not seen a detector catches.

The attacks are those of the training rows, a group of their names at a time held out (`leave-types-out`); test rows are
neither fitted on nor judged by, whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netwarden.errors import DataCheckError
from netwarden.evaluation.protocols import MIN_HELD_OUT_ROWS, Round, protocol_of, without_test_rows
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params
from netwarden.training.baselines import fit_judge
from netwarden.training.fit import budget_in_force
from netwarden.training.rounds import open_round, seeded

PROTOCOL = "leave-types-out"


@dataclass(frozen=True)
class HeldOutTypes:
    """Training rows of one dataset, and how groups of attack names are held out of them; `seed` belongs to a round."""

    table: FlowTable
    schema: FlowSchema
    rounds: tuple[tuple[int, Round], ...]


@dataclass(frozen=True)
class Caught:
    """What alerts at the budget in force: share of each held-out attack name, of attacks seen, and of benign flows."""

    unseen: Mapping[str, float]
    seen: float | None
    benign: float


def hold_out_types(table: FlowTable, schema: FlowSchema, params: Params, seeds: Sequence[int]) -> HeldOutTypes:
    """The rounds of every seed. Raises DataCheckError where the training rows have too few attack names."""
    table = without_test_rows(table, schema, params.transform)
    divide = protocol_of(PROTOCOL).divide
    rounds = [(seed, each) for seed in seeds for each in divide(table, schema, seeded(params, seed).transform)]
    if not rounds:
        raise DataCheckError(
            f"the training rows of schema {schema.id} have no two attack names with {MIN_HELD_OUT_ROWS} rows each, "
            "so none can be held out to choose parameters by"
        )
    return HeldOutTypes(table, schema, tuple(rounds))


def catch(held_out: HeldOutTypes, at: int, params: Params) -> Caught:
    """What the detector that `params` name, fitted on one round, makes of the rows that the round judges by."""
    seed, division = held_out.rounds[at]
    params = seeded(params, seed)
    rows = open_round(division, held_out.table, held_out.schema, params.transform)
    budget = budget_in_force(params)
    judge = fit_judge(params.train.detector, rows.training, rows.preprocessor, params, (budget,))
    alerts = judge.score(rows.matrix) >= judge.thresholds[budget]
    names, counts = np.unique(rows.labels, return_counts=True)
    telling = set(names[counts >= MIN_HELD_OUT_ROWS].tolist()) - rows.seen - {BENIGN}
    known = (rows.labels != BENIGN) & np.isin(rows.labels, list(rows.seen))
    return Caught(
        {name: float(alerts[rows.labels == name].mean()) for name in sorted(telling)},
        float(alerts[known].mean()) if known.any() else None,
        float(alerts[rows.labels == BENIGN].mean()),
    )


def objective_value(rounds: Sequence[Caught]) -> float:
    """Mean recall over attack names held out, each name counting once, however many rows it has."""
    return float(np.mean([share for each in rounds for share in each.unseen.values()]))
