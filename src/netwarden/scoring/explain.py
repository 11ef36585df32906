"""Why a flow scored as it did: exact shares of its features, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netwarden.detectors.bundle import DetectorBundle
from netwarden.features.preprocessor import FeatureColumn
from netwarden.flows.table import FlowTable


@dataclass(frozen=True)
class Reason:
    """One feature's part in a score. `share` is in log-odds: above 0 it speaks for attack, below 0 for benign."""

    feature: str
    value: Any
    unit: str
    share: float
    text: str


def explain(bundle: DetectorBundle, table: FlowTable, top: int = 5) -> list[list[Reason]]:
    """For each row, the `top` features that moved its score most, the strongest first.

    All shares of a row and the base add up to the log-odds of the uncalibrated score. About 2,000 rows a second:
    explain alerts, not tables.
    """
    bundle.require_fit(table)
    shares = bundle.detector.contributions(bundle.preprocessor.transform(table.arrow))[:, :-1]
    strongest = np.argsort(-np.abs(shares), axis=1, kind="stable")[:, :top]
    return [
        [_reason(bundle.preprocessor.columns[at], row, float(shares[index, at])) for at in strongest[index]]
        for index, row in enumerate(table.arrow.select(list(bundle.preprocessor.names)).to_pylist())
    ]


def _reason(column: FeatureColumn, row: dict[str, Any], share: float) -> Reason:
    value = row[column.name]
    return Reason(column.name, value, column.unit, share, _words(column, value, share))


def _words(column: FeatureColumn, value: Any, share: float) -> str:
    if value is None:
        said = "is missing"
    elif column.categorical:
        said = f"is {value}" if value in column.categories else f"is {value}, which training never saw"
    else:
        number = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
        said = f"is {number} {column.unit}".rstrip()
    effect = "speaks for an attack" if share > 0 else "speaks against an attack" if share < 0 else "does not matter"
    return f"{column.name} {said}: {effect}"
