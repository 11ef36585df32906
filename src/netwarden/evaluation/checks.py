"""Checks that a dataset must pass before it may train: what is wrong, in how many places, and in which rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import DataCheckError, SchemaError
from netwarden.evaluation.leaks import (
    Found,
    attack_rows,
    constant_features,
    near_duplicates,
    separating_features,
    single_auc,
    telling_identifiers,
)
from netwarden.flows.content import row_hashes
from netwarden.flows.schema import FAMILY, LABEL, ROW_ID, SOURCE_FILE, SOURCE_LINE, SPLIT, FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.params import ValidateParams

_SHOWN_ROWS = 5
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Check:
    """Outcome of one check: it fails where more is found than the schema's `faults` allow.

    `allowed` is None for a sign of a leak that the schema says nothing about: what is found is a warning then.
    """

    name: str
    found: int
    allowed: int | None
    what: str
    rows: tuple[str, ...] = field(default=(), metadata={"meaning": "first rows concerned, as file:line"})

    @property
    def passed(self) -> bool:
        return self.allowed is None or self.found <= self.allowed

    @property
    def warns(self) -> bool:
        return self.allowed is None and self.found > 0

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "rows": list(self.rows), "passed": self.passed, "warns": self.warns}


def run_checks(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> list[Check]:
    """Outcome of every check, in the order they are listed here.

    Raises SchemaError where the schema declares a fault that no check counts.
    """
    absent = _columns(table, schema, params)
    found = [absent] if absent[1] else [check(table, schema, params) for check in _CHECKS]
    checks = [Check(name, count, schema.faults.get(name, 0), what, rows) for name, count, what, rows in found]
    if not absent[1]:
        signs = [sign(table, schema, params) for sign in _SIGNS]
        checks += [
            Check(name, n, schema.faults.get(name), what, _where(table, marks)) for name, n, what, marks in signs
        ]
    idle = sorted(set(schema.faults) - {check.name for check in checks})
    if idle and not absent[1]:
        known = ", ".join(check.name for check in checks)
        raise SchemaError(f"schema {schema.id} declares faults that no check counts: {idle}; known are {known}")
    return checks


def require_passed(checks: Sequence[Check], schema: FlowSchema) -> None:
    """Raise DataCheckError that names every failed check, its rows and the way out."""
    failed = [check for check in checks if not check.passed]
    if not failed:
        return
    lines = [
        f"{check.name}: {check.found} found, {check.allowed} allowed: {check.what}"
        + (f"; first rows: {', '.join(check.rows)}" if check.rows else "")
        for check in failed
    ]
    declared = ", ".join(f"{check.name}: {check.found}" for check in failed)
    raise DataCheckError(
        f"{len(failed)} of {len(checks)} checks failed on data of schema {schema.id}. {'. '.join(lines)}. "
        f"Mend the files and load them again, or, if the dataset is known for it, declare in the schema: "
        f"faults: {{{declared}}}"
    )


# --- the checks: each returns its name, how many, what, and the first rows -------------------------------------

_Found = tuple[str, int, str, tuple[str, ...]]


def _columns(table: FlowTable, schema: FlowSchema, _params: ValidateParams) -> _Found:
    needed = {column.name: arrow_type(column) for column in schema.stored if not column.optional}
    needed |= dict.fromkeys((ROW_ID, LABEL, FAMILY, SPLIT))
    wrong = [
        name
        for name, kind in needed.items()
        if name not in table.names or (kind is not None and table.arrow.schema.field(name).type != kind)
    ]
    return "columns", len(wrong), f"columns missing or of another type: {', '.join(wrong) or 'none'}", ()


def _row_ids(table: FlowTable, _schema: FlowSchema, _params: ValidateParams) -> _Found:
    twice = pd.Series(table.arrow.column(ROW_ID).to_pylist()).duplicated().to_numpy()
    return "duplicates", int(twice.sum()), "rows that are in the store twice", _where(table, twice)


def _missing(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> _Found:
    limit = params.max_missing_share * len(table)
    checked = [column.name for column in schema.features if column.missing != "expected"]
    count = {name: table.arrow.column(name).null_count for name in checked}
    over = {name: nulls for name, nulls in count.items() if nulls > limit}
    shown = ", ".join(f"{name} ({nulls / len(table):.0%})" for name, nulls in over.items())
    what = f"missing values in columns that miss over {params.max_missing_share:.0%}: {shown or 'none'}"
    marks = _any(table, [pc.is_null(table.arrow.column(name)) for name in over])
    return "missing_values", sum(over.values()), what, _where(table, marks)


def _ranges(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> _Found:
    outside: dict[str, Any] = {}
    for column in schema.features:
        values = table.arrow.column(column.name)
        low, high = column.range
        tests = [pc.less(values, low)] if low is not None else []
        tests += [pc.greater(values, high)] if high is not None else []
        if column.categories and not column.open:
            tests.append(pc.invert(pc.is_in(values, pa.array(column.categories, values.type))))
        marks = _any(table, [pc.and_(test, pc.is_valid(values)) for test in tests])
        if marks.sum() > params.max_out_of_range_share * len(table):
            outside[column.name] = marks
    total = np.logical_or.reduce([np.zeros(len(table), bool), *outside.values()])
    what = f"rows outside the range or the categories of: {', '.join(outside) or 'none'}"
    return "out_of_range", int(total.sum()), what, _where(table, total)


def _classes(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> _Found:
    attack = attack_rows(table)
    splits = np.asarray(table.arrow.column(SPLIT).to_pylist(), dtype=object)
    sides = sorted(set(splits)) if schema.split.by_file(splits) else [None]
    short = [
        f"{side or 'all rows'} has {rows} {kind}"
        for side in sides
        for kind, marks in (("benign", ~attack), ("attack", attack))
        if (rows := int((marks & ((splits == side) | (side is None))).sum())) < params.min_rows_per_class
    ]
    what = f"classes of under {params.min_rows_per_class} rows: {', '.join(short) or 'none'}"
    return "rows_per_class", len(short), what, ()


def _conflicts(table: FlowTable, schema: FlowSchema, _params: ValidateParams) -> _Found:
    groups = pd.Series(_features(table, schema))
    names = pd.Series(table.arrow.column(LABEL).to_pylist()).groupby(groups).transform("nunique")
    marks = (names > 1).to_numpy()
    what, sets = "sets of rows with equal features and different labels", int(groups[marks].nunique())
    if schema.duplicates == "keep":
        return "label_conflicts", 0, f"{what}: {sets}, which is no fault where equal rows are separate events", ()
    return "label_conflicts", sets, what, _where(table, marks)


def _overlap(table: FlowTable, schema: FlowSchema, _params: ValidateParams) -> _Found:
    name, what = "train_test_overlap", "distinct rows, label included, that are both in training and in test files"
    if not schema.split.by_file(table.arrow.column(SPLIT).unique().to_pylist()):
        return name, 0, what, ()  # the draw keeps equal rows on one side
    if schema.duplicates == "keep":
        return name, 0, f"{what}; equal rows are separate events here, so they are not counted", ()
    content = row_hashes(table.arrow, [*(column.name for column in schema.features), LABEL])
    tests = pc.equal(table.arrow.column(SPLIT), "test").to_numpy(zero_copy_only=False)
    marks = np.isin(content, np.intersect1d(content[tests], content[~tests])) & tests
    return name, len(np.unique(content[marks])), what, _where(table, marks)


def _leaks(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> _Found:
    attack = attack_rows(table)
    told = {column.name: single_auc(table.arrow.column(column.name), attack) for column in schema.features}
    leaks = {name: auc for name, auc in told.items() if auc > params.max_feature_auc}
    shown = ", ".join(f"{name} (ROC AUC {auc:.4f})" for name, auc in leaks.items()) or "none"
    advice = "; made from the truth, such a column gets `role: leak` in the schema" if leaks else ""
    return "leak_columns", len(leaks), f"features that tell attacks all by themselves: {shown}{advice}", ()


_CHECKS: tuple[Callable[[FlowTable, FlowSchema, ValidateParams], _Found], ...] = (
    _columns,
    _row_ids,
    _missing,
    _ranges,
    _classes,
    _conflicts,
    _overlap,
    _leaks,
)


_SIGNS: tuple[Callable[[FlowTable, FlowSchema, ValidateParams], Found], ...] = (
    near_duplicates,
    telling_identifiers,
    separating_features,
    constant_features,
)


def _features(table: FlowTable, schema: FlowSchema) -> npt.NDArray[np.uint64]:
    return row_hashes(table.arrow, [column.name for column in schema.features])


def _any(table: FlowTable, tests: Sequence[Any]) -> Marks:
    marks = np.zeros(len(table), dtype=bool)
    for test in tests:
        marks |= pc.fill_null(test, False).to_numpy(zero_copy_only=False)
    return marks


def _where(table: FlowTable, marks: Marks) -> tuple[str, ...]:
    first = np.flatnonzero(marks)[:_SHOWN_ROWS]
    if not {SOURCE_FILE, SOURCE_LINE} <= set(table.names):
        return tuple(f"row {row}" for row in first)
    picked = table.arrow.take(first)
    pairs = zip(picked.column(SOURCE_FILE).to_pylist(), picked.column(SOURCE_LINE).to_pylist(), strict=True)
    return tuple(f"{file}:{line}" for file, line in pairs)
