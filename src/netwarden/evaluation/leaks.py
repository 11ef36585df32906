"""Signs that a dataset flatters its detectors: none is a fault by itself, each is a reason to doubt a good figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.flows.content import row_hashes
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import LABEL, ROW_ID, SPLIT, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import ValidateParams

Marks = npt.NDArray[np.bool_]
Found = tuple[str, int, str, Marks]  # name, how many, what, the rows concerned

_TIME_BINS = 200
_PER_DECADE = 8  # bins that numbers are rounded to: about a third apart


def near_duplicates(table: FlowTable, schema: FlowSchema, _params: ValidateParams) -> Found:
    """Test rows with almost a training row's features; where the split is drawn later, rows that are like another."""
    alike = _rounded_hashes(table, schema)
    if schema.split.policy == "official":
        tests = pc.equal(table.arrow.column(SPLIT), "test").to_numpy(zero_copy_only=False).astype(bool)
        marks, of = tests & np.isin(alike, alike[~tests]), int(tests.sum())
        whose = "test rows that are nearly a training row"
    else:
        exact = row_hashes(table.arrow, [column.name for column in schema.features])
        kinds = pd.Series(exact).groupby(alike).transform("nunique").to_numpy()
        marks, of = kinds > 1, len(table)
        whose = "rows that are nearly another, which a random split would part"
    found = int(marks.sum())
    return "near_duplicates", found, f"{whose}: {found / max(of, 1):.1%} of {of}, all numbers within a third", marks


def telling_identifiers(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> Found:
    """Whether addresses, ports, ids and times alone tell attacks: then a random split measures memory of hosts."""
    columns = [
        column for column in schema.columns if column.role in ("identifier", "time") and column.name in table.names
    ]
    auc = _auc_by_memory(table, [column.name for column in columns])
    names = ", ".join(column.name for column in columns) or "there are none"
    what = f"identifiers tell attacks of rows not seen, by ROC AUC {auc:.4f}: {names}"
    return "telling_identifiers", int(auc > params.max_identifier_auc), what, _none(table)


def separating_features(table: FlowTable, schema: FlowSchema, params: ValidateParams) -> Found:
    """Features that nearly separate attacks by themselves: real in a flood, made in a simulated network."""
    attack = attack_rows(table)
    told = {column.name: single_auc(table.arrow.column(column.name), attack) for column in schema.features}
    strong = {name: auc for name, auc in told.items() if auc > params.warn_feature_auc}
    shown = ", ".join(f"{name} (ROC AUC {auc:.4f})" for name, auc in sorted(strong.items(), key=lambda each: -each[1]))
    return (
        "separating_features",
        len(strong),
        f"features that nearly tell attacks alone: {shown or 'none'}",
        _none(table),
    )


def constant_features(table: FlowTable, schema: FlowSchema, _params: ValidateParams) -> Found:
    """Features of a single value, missing or not, which teach nothing."""
    constant = [column.name for column in schema.features if len(table.arrow.column(column.name).unique()) < 2]
    return (
        "constant_features",
        len(constant),
        f"features that never change: {', '.join(constant) or 'none'}",
        _none(table),
    )


def attack_rows(table: FlowTable) -> Marks:
    """Whether each row is an attack."""
    return np.asarray(pc.not_equal(table.arrow.column(LABEL), BENIGN).to_numpy(zero_copy_only=False), bool)


def single_auc(values: Any, attack: Marks) -> float:
    """ROC AUC of one column, whichever way round; categories are ranked by their share of attacks."""
    if not attack.any() or attack.all():
        return 0.5
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        values = pd.Series(attack).groupby(pd.Series(values.to_pylist()), dropna=False).transform("mean")
    auc = _auc(pd.Series(values.to_numpy()).fillna(-np.inf).to_numpy(), attack)
    return max(auc, 1 - auc)


def _auc(scores: npt.NDArray[np.float64], attack: Marks) -> float:
    positives = int(attack.sum())
    ranks = pd.Series(scores).rank().to_numpy()
    return float((ranks[attack].sum() - positives * (positives + 1) / 2) / (positives * (len(attack) - positives)))


def _auc_by_memory(table: FlowTable, names: list[str]) -> float:
    """ROC AUC of a naive Bayes classifier that remembers, on half of the rows, how often each value was an attack."""
    attack = attack_rows(table)
    lot = pd.util.hash_array(np.array(table.arrow.column(ROW_ID).to_pylist(), dtype=object), categorize=False)
    learned = lot % 2 == 0
    sides = (attack[learned], attack[~learned])
    if not names or any(side.all() or not side.any() for side in sides):
        return 0.5
    odds = np.zeros(int((~learned).sum()))
    base = np.log(sides[0].mean() / (1 - sides[0].mean()))
    for name in names:
        values = pd.Series(_as_codes(table.arrow.column(name)))
        seen = pd.Series(sides[0]).groupby(values[learned].to_numpy()).agg(["sum", "count"])
        rates = np.log((seen["sum"] + 0.5) / (seen["count"] - seen["sum"] + 0.5)) - base
        odds += values[~learned].map(rates).fillna(0.0).to_numpy()
    return _auc(odds, sides[1])


def _as_codes(values: Any) -> npt.NDArray[np.int64]:
    """A number per value; instants by where they lie between the first and the last."""
    if pa.types.is_timestamp(values.type):
        clock = pd.Series(values.cast(pa.int64()).to_numpy(zero_copy_only=False)).rank(pct=True)
        return np.asarray((clock.fillna(-1) * _TIME_BINS).to_numpy(), np.int64)
    return np.asarray(pd.factorize(pd.Series(values.to_pylist()), use_na_sentinel=False)[0], np.int64)


def _rounded_hashes(table: FlowTable, schema: FlowSchema) -> npt.NDArray[np.uint64]:
    """Hash of each row's features, its numbers rounded on a logarithmic scale."""
    rounded = {}
    for column in schema.features:
        values = table.arrow.column(column.name)
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
            numbers = pc.fill_null(values.cast(pa.float64()), float("nan")).to_numpy()
            steps = np.round(np.sign(numbers) * np.log10(1 + np.abs(numbers)) * _PER_DECADE)
            values = pa.chunked_array([steps])
        rounded[column.name] = values
    return row_hashes(pa.table(rounded), list(rounded))


def _none(table: FlowTable) -> Marks:
    return np.zeros(len(table), dtype=bool)
