"""Ways of judging a detector: which rows it is fitted on and which judge it, without fitting anything.

Only `official` and `temporal` judge by a dataset's test rows. All others hold rows out of the training rows, so that
they can be asked again and again without a look at the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from netwarden import logs
from netwarden.errors import ConfigError, DataCheckError
from netwarden.evaluation.report import subset_rows
from netwarden.evaluation.split import (
    CALIBRATION,
    FIT,
    TEST,
    THRESHOLD,
    VALIDATION,
    Parts,
    assign_parts,
)
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams

Marks = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

_log = logs.get(__name__)

OUT = "out"  # part of rows that neither train nor judge
TOOL = "tool"  # column that says which program made an attack
MIN_HELD_OUT_ROWS = 20
_GROUPS_OF_TYPES = 4


@dataclass(frozen=True)
class Round:
    """One division of a table's rows: what is held out, the part of each row, and subsets of all rows judged apart.

    `whole`: whether the rows that judge are judged together as well.
    """

    name: str
    parts: Parts
    subsets: dict[str, Marks] = field(default_factory=dict)
    whole: bool = True


@dataclass(frozen=True)
class Protocol:
    """One way of judging. `looks`: whether it judges by the test rows that a dataset sets apart."""

    name: str
    meaning: str
    divide: Callable[[FlowTable, FlowSchema, TransformParams], Iterator[Round]]
    looks: bool = False


def protocol_of(name: str) -> Protocol:
    """Protocol of that name. Raises ConfigError that lists the known ones."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ConfigError(f"no protocol {name!r}; known: {', '.join(PROTOCOLS)}, cross-dataset") from None


def without_test_rows(table: FlowTable, schema: FlowSchema, params: TransformParams) -> FlowTable:
    """The rows that may train with the seed of `params`, so that no other seed draws from its test rows.

    Where files say which rows test, all rows: every seed then leaves the same ones alone.
    """
    if _sets_apart(table, schema):
        return table
    return replace(table, arrow=table.arrow.filter(assign_parts(table, schema, params) != TEST))


def _official(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    parts = assign_parts(table, schema, params)
    tests = np.flatnonzero(parts == TEST)
    subsets = {}
    for name, rows in subset_rows(FlowTable(table.arrow.take(tests), table.schema_id), schema).items():
        subsets[name] = np.zeros(len(table), np.bool_)
        subsets[name][tests[rows]] = True
    yield Round("", parts, subsets)


def _temporal(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    by_time = schema.split.model_copy(update={"policy": "time", "own": False})
    yield Round("", assign_parts(table, schema.model_copy(update={"split": by_time}), params))


def _random(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    """Each row by itself, whatever rows are equal to it or around it: what flatters."""
    official = assign_parts(table, schema, params)
    training = official != TEST if _sets_apart(table, schema) else np.ones(len(table), np.bool_)
    shares = {
        TEST: params.test_share,
        CALIBRATION: params.calibration_share,
        THRESHOLD: params.threshold_share,
        VALIDATION: params.validation_share,
    }
    edges = np.cumsum(list(shares.values()))
    lots = np.random.default_rng(params.seed).random(len(table))
    drawn = np.array([*shares, FIT])[np.searchsorted(edges, lots, side="right")]
    yield Round("", np.where(training, drawn, OUT))


def _without_each_family(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    yield from _without_each(FAMILY, table, schema, params)


def _without_each_attack(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    yield from _without_each(LABEL, table, schema, params)


def _without_each(column: str, table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    parts, values, attack = _start(table, schema, params, column)
    for name in np.unique(values[attack & (parts != TEST)]).tolist():
        held_out = attack & (values == name)
        rest = attack & (parts == FIT) & ~held_out
        if min((held_out & (parts != TEST)).sum(), rest.sum()) >= MIN_HELD_OUT_ROWS:
            yield Round(name, _hold_out(parts, held_out, held_out, attack))
        else:
            _log.warning("too few rows to leave this out", extra={column: name, "least": MIN_HELD_OUT_ROWS})


def _without_groups_of_types(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    """Attack names in a few groups, each with some of every family; all names of a group are unknown at once.

    Cheap enough to choose by. Validation rows of the names still known judge as well.
    """
    parts, labels, attack = _start(table, schema, params, LABEL)
    training = attack & (parts != TEST)
    for number, names in enumerate(_deal(labels[training], _texts(table, FAMILY)[training], params.seed), 1):
        held_out = attack & np.isin(labels, names)
        if (attack & (parts == FIT) & ~held_out).sum() >= MIN_HELD_OUT_ROWS:
            known = (parts == VALIDATION) & ~held_out
            yield Round(f"group {number}", np.where(known, TEST, _hold_out(parts, held_out, held_out, attack)))


def _deal(labels: Texts, families: Texts, seed: int) -> list[Texts]:
    """Attack names dealt out family by family in an order of the seed's; one without a name of rows enough is left."""
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), families[first]))
    groups = [order[start::_GROUPS_OF_TYPES] for start in range(_GROUPS_OF_TYPES)]
    return [names[group] for group in groups if (counts[group] >= MIN_HELD_OUT_ROWS).any()]


def _without_each_tool(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
    """A tool plays no part in training; its rows of attacks that other tools played there judge."""
    if TOOL not in table.names:
        raise DataCheckError(
            f"rows of schema {schema.id} do not say which tool made an attack (column {TOOL}); the dataset `lab` does"
        )
    parts, tools, attack = _start(table, schema, params, TOOL)
    labels = _texts(table, LABEL)
    for tool in np.unique(tools[attack & (parts != TEST) & (tools != "")]).tolist():
        held_out = attack & (tools == tool)
        others = np.unique(labels[attack & (parts == FIT) & ~held_out])
        judging = held_out & np.isin(labels, others)
        if (judging & (parts != TEST)).sum() >= MIN_HELD_OUT_ROWS:
            yield Round(tool, _hold_out(parts, held_out, judging, attack))


def _hold_out(parts: Parts, held_out: Marks, judging: Marks, attack: Marks) -> Parts:
    """Training rows divided anew: the judging ones and the benign validation rows test, others held out do nothing."""
    moved = parts.copy()
    moved[(parts == TEST) | held_out] = OUT
    moved[(parts != TEST) & judging] = TEST
    moved[(parts == VALIDATION) & ~attack] = TEST
    return moved


def _start(table: FlowTable, schema: FlowSchema, params: TransformParams, column: str) -> tuple[Parts, Texts, Marks]:
    return assign_parts(table, schema, params), _texts(table, column), _texts(table, LABEL) != BENIGN


def _sets_apart(table: FlowTable, schema: FlowSchema) -> bool:
    return schema.split.by_file(_texts(table, "split").tolist())


def _texts(table: FlowTable, column: str) -> Texts:
    return np.asarray(pc.fill_null(table.arrow.column(column), "").to_pylist(), dtype=str)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("official", "the test rows that the dataset sets apart", _official, looks=True),
        Protocol("temporal", "the last rows by time", _temporal, looks=True),
        Protocol(
            "leave-family-out", "each attack family of the training rows, unknown in training", _without_each_family
        ),
        Protocol("leave-attack-out", "each attack of the training rows, unknown in training", _without_each_attack),
        Protocol(
            "leave-types-out",
            "attacks of the training rows, a quarter of their names at a time unknown in training",
            _without_groups_of_types,
        ),
        Protocol("leave-tool-out", "each tool, where other tools played its attacks in training", _without_each_tool),
        Protocol("random", "rows drawn one by one: misleading, for comparison with figures obtained so", _random),
    )
}
