"""What is usual of a feature among the benign rows that a bundle remembers, in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.bundle import DetectorBundle
from netwarden.detectors.reference import BENIGN_LEVELS

_UPPER = (1.0, 0.999, 0.99, 0.95, 0.9)  # of BENIGN_LEVELS, the most telling first
_LOWER = (0.0, 0.001, 0.01, 0.05, 0.1)
_EXACT_TO = 2.0**-23  # the matrix that the reference describes holds float32


def what_is_usual(bundle: DetectorBundle, feature: int, value: Any) -> str:
    """Such as "99 % of benign flows ≤ 2"; empty where the bundle does not know (format 1, columns always missing)."""
    if value is None:
        return f"so are {_percent(bundle.reference.missing[feature])} of all flows of training"
    column = bundle.preprocessor.columns[feature]
    if column.categorical:
        return _of_category(bundle, feature, value)
    return _of_number(bundle.reference.benign_quantiles[feature], float(value), whole=column.type == "int")


def number(value: float) -> str:
    """A number as people read it: thousands apart, six figures."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _of_number(quantiles: npt.NDArray[np.float64], value: float, *, whole: bool) -> str:
    if np.isnan(quantiles).all():
        return ""
    # Quantiles lie between values; of whole numbers, those at or below 2.3 are those at or below 2.
    below, above = (np.floor(quantiles), np.ceil(quantiles)) if whole else (quantiles, quantiles)
    most, least = (dict(zip(BENIGN_LEVELS.tolist(), each.tolist(), strict=True)) for each in (below, above))
    slack = abs(value) * _EXACT_TO
    for level in _UPPER:
        if value > most[level] + slack:
            return f"{_benign(level)} ≤ {number(most[level])}"
    for level in _LOWER:
        if value < least[level] - slack:
            return f"{_benign(1 - level)} ≥ {number(least[level])}"
    low, high = least[0.05], most[0.95]
    return f"{_benign(0.9)} {number(low)} to {number(high)}" if low < high else f"{_benign(0.9)} {number(low)}"


def _of_category(bundle: DetectorBundle, feature: int, value: str) -> str:
    counts, categories = bundle.reference.benign_category_counts, bundle.preprocessor.columns[feature].categories
    end = int(bundle.reference.category_ends[feature])
    rows = int(counts[end - len(categories) - 1 : end].sum())
    if not rows or value not in categories:
        return ""
    share = counts[end - len(categories) + categories.index(value)] / rows
    return f"so are {_percent(share)} of benign flows" if share else "no benign flow of training is"


def _benign(level: float) -> str:
    return "all benign flows of training" if level == 1 else f"{_percent(level)} of benign flows"


def _percent(share: float) -> str:
    return "under 0.1 %" if 0 < share < 0.001 else f"{round(100 * share, 1):g} %"
