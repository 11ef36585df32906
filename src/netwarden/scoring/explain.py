"""Why a flow scored as it did: exact shares of its features, in plain words, beside what is usual."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Part
from netwarden.detectors.bundle import DetectorBundle
from netwarden.features.preprocessor import FeatureColumn
from netwarden.flows.table import FlowTable
from netwarden.scoring.usual import amount, is_usual, what_is_usual

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reason:
    """One feature's share in one kind of evidence, on its scale: above 0 it speaks for an attack, below against.

    `portion`: of all that moves this evidence, whichever way. `shown`: the value in words, with its unit. `usual`:
    what is usual of the feature among benign flows, empty where the bundle does not know.
    """

    part: Part
    feature: str
    value: Any
    unit: str
    share: float
    portion: float
    shown: str
    usual: str

    @property
    def text(self) -> str:
        """All of it as one sentence."""
        said = f"{self.feature} is {self.shown}" + f"; {self.usual}" * bool(self.usual)
        return f"{said}: {_effect(self.part, self.share)}"


@dataclass(frozen=True)
class Evidence:
    """What one kind of evidence says of a flow: `base` and the shares of all features add up to `total`."""

    part: Part
    total: float
    base: float
    reasons: tuple[Reason, ...]


def explain(bundle: DetectorBundle, table: FlowTable, top: int = 5) -> list[list[Reason]]:
    """For each row, the `top` features that moved its score most, the strongest first.

    A feature's strength is its portion of all shares in the same part. All shares of a row and part, with the base,
    add up to the evidence of that part. Some hundreds of rows a second: explain alerts, not tables.
    """
    return [
        [
            _reason(bundle, flow, *divmod(place, flow.portions.shape[1]))
            for place in _largest(flow.portions.ravel(), top)
        ]
        for flow in _weighed(bundle, table)
    ]


def weigh(bundle: DetectorBundle, table: FlowTable, top: int = 5) -> list[tuple[Evidence, ...]]:
    """For each row, every kind of evidence apart, with the `top` features that moved it, the strongest first."""
    return [
        tuple(
            Evidence(
                part,
                float(flow.shares[which].sum()),
                float(flow.shares[which, -1]),
                tuple(_reason(bundle, flow, which, at) for at in _largest(flow.portions[which], top)),
            )
            for which, part in enumerate(bundle.detector.parts)
        )
        for flow in _weighed(bundle, table)
    ]


class _Flow(NamedTuple):
    """A row's shares, (parts, features + 1), their portions, (parts, features), and its values by feature."""

    shares: Floats
    portions: Floats
    values: dict[str, Any]


def _weighed(bundle: DetectorBundle, table: FlowTable) -> Iterator[_Flow]:
    bundle.require_fit(table)
    shares = bundle.detector.contributions(bundle.preprocessor.transform(table.arrow))
    sizes = np.abs(shares[:, :, :-1])
    portions = sizes / np.maximum(sizes.sum(axis=2, keepdims=True), np.finfo(np.float64).tiny)
    rows = table.arrow.select(list(bundle.preprocessor.names)).to_pylist()
    return map(_Flow, shares, portions, rows)


def _largest(values: Floats, top: int) -> list[int]:
    largest: list[int] = np.argsort(-values, kind="stable")[:top].tolist()
    return largest


def _reason(bundle: DetectorBundle, flow: _Flow, which: int, at: int) -> Reason:
    column = bundle.preprocessor.columns[at]
    value = flow.values[column.name]
    share = float(flow.shares[which, at])
    usual = what_is_usual(bundle, at, value)
    if share > 0 and usual and is_usual(bundle, at, value):
        usual = f"usual by itself, not together with the others: {usual}"
    return Reason(
        bundle.detector.parts[which],
        column.name,
        value,
        column.unit,
        share,
        float(flow.portions[which, at]),
        _shown(column, value),
        usual,
    )


def _shown(column: FeatureColumn, value: Any) -> str:
    if value is None:
        return "missing"
    if column.categorical:
        return str(value) if value in column.categories else f"{value}, which training never saw"
    return amount(value, column.unit)


def _effect(part: Part, share: float) -> str:
    if share == 0:
        return "does not matter"
    if part == "novelty":
        return "unlike benign flows, beside its other features" if share > 0 else "like benign flows"
    return "speaks for an attack" if share > 0 else "speaks against an attack"
