"""Why a flow scored as it did: exact shares of its features, in plain words, beside what is usual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Part
from netwarden.detectors.bundle import DetectorBundle
from netwarden.features.preprocessor import FeatureColumn
from netwarden.flows.table import FlowTable
from netwarden.scoring.usual import number, what_is_usual


@dataclass(frozen=True)
class Reason:
    """One feature's share in one kind of evidence, on its scale: above 0 it speaks for an attack, below against."""

    part: Part
    feature: str
    value: Any
    unit: str
    share: float
    text: str


def explain(bundle: DetectorBundle, table: FlowTable, top: int = 5) -> list[list[Reason]]:
    """For each row, the `top` features that moved its score most, the strongest first.

    A feature's strength is its portion of all shares in the same part. All shares of a row and part, with the base,
    add up to the evidence of that part. Some hundreds of rows a second: explain alerts, not tables.
    """
    bundle.require_fit(table)
    shares = bundle.detector.contributions(bundle.preprocessor.transform(table.arrow))[:, :, :-1]
    sizes = np.abs(shares)
    portions = sizes / np.maximum(sizes.sum(axis=2, keepdims=True), np.finfo(np.float64).tiny)
    strongest = np.argsort(-portions.reshape(len(shares), np.prod(shares.shape[1:])), axis=1, kind="stable")[:, :top]
    return [
        [_reason(bundle, shares[index], int(at), row) for at in strongest[index]]
        for index, row in enumerate(table.arrow.select(list(bundle.preprocessor.names)).to_pylist())
    ]


def _reason(bundle: DetectorBundle, shares: npt.NDArray[np.float64], place: int, row: dict[str, Any]) -> Reason:
    which, at = divmod(place, shares.shape[1])
    part, column, share = bundle.detector.parts[which], bundle.preprocessor.columns[at], float(shares[which, at])
    value = row[column.name]
    said = "; ".join(filter(None, [_said(column, value), what_is_usual(bundle, at, value)]))
    return Reason(part, column.name, value, column.unit, share, f"{column.name} {said}: {_effect(part, share)}")


def _said(column: FeatureColumn, value: Any) -> str:
    if value is None:
        return "is missing"
    if column.categorical:
        return f"is {value}" if value in column.categories else f"is {value}, which training never saw"
    return f"is {number(value)} {column.unit}".rstrip()


def _effect(part: Part, share: float) -> str:
    if share == 0:
        return "does not matter"
    if part == "novelty":
        return "unlike benign flows, beside its other features" if share > 0 else "like benign flows"
    return "speaks for an attack" if share > 0 else "speaks against an attack"
