"""What is usual of a feature among the benign rows that a bundle remembers, in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.bundle import DetectorBundle
from netwarden.detectors.reference import BENIGN_LEVELS

_UPPER = (1.0, 0.999, 0.99, 0.95, 0.9)  # of BENIGN_LEVELS, the most telling first
_LOWER = (0.0, 0.001, 0.01, 0.05, 0.1)
_COMMON = 0.05  # share of benign flows from which a category is usual
_LARGE = 100_000.0  # from here on in thousands, millions, …
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SYMBOLS = {"bytes": "B", "bytes/s": "B/s", "bits/s": "bit/s"}  # units that take a prefix
_EXACT_TO = 2.0**-23  # the matrix that the reference describes holds float32


def what_is_usual(bundle: DetectorBundle, feature: int, value: Any) -> str:
    """Such as "99 % of benign flows ≤ 2"; empty where the bundle does not know (format 1, columns always missing)."""
    if value is None:
        return f"so are {_percent(bundle.reference.missing[feature])} of all flows of training"
    column = bundle.preprocessor.columns[feature]
    if column.categorical:
        return _of_category(bundle, feature, value)
    quantiles = bundle.reference.benign_quantiles[feature]
    return _of_number(quantiles, float(value), column.unit, whole=column.type == "int")


def is_usual(bundle: DetectorBundle, feature: int, value: Any) -> bool:
    """Whether a value lies in the middle four fifths of benign flows; of a category, whether one in twenty does."""
    column = bundle.preprocessor.columns[feature]
    if value is None:
        return False
    if column.categorical:
        return (_share_of_category(bundle, feature, value) or 0.0) >= _COMMON
    quantiles = dict(zip(BENIGN_LEVELS.tolist(), bundle.reference.benign_quantiles[feature].tolist(), strict=True))
    return bool(quantiles[0.1] <= float(value) <= quantiles[0.9])


def amount(value: float, unit: str) -> str:
    """A number with its unit as people read it, such as "17.2 MB/s"."""
    if unit == "us" and abs(value) >= _LARGE:
        return amount(value / 1e6, "s")
    if abs(value) < _LARGE or unit in ("s", "ms"):
        return f"{number(value)} {unit}".rstrip()
    scale, prefix = next((scale, prefix) for scale, prefix in _SCALES if abs(value) >= scale)
    symbol = _SYMBOLS.get(unit)
    scaled = f"{value / scale:,.4g} {prefix}"
    return f"{scaled}{symbol}" if symbol else f"{scaled} {unit}".rstrip()


def number(value: float) -> str:
    """A number as people read it: thousands apart, six figures."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.6g}"


def _of_number(quantiles: npt.NDArray[np.float64], value: float, unit: str, *, whole: bool) -> str:
    if np.isnan(quantiles).all():
        return ""
    # Quantiles lie between values; of whole numbers, those at or below 2.3 are those at or below 2.
    below, above = (np.floor(quantiles), np.ceil(quantiles)) if whole else (quantiles, quantiles)
    most, least = (dict(zip(BENIGN_LEVELS.tolist(), each.tolist(), strict=True)) for each in (below, above))
    slack = abs(value) * _EXACT_TO
    for level in _UPPER:
        if value > most[level] + slack:
            return f"{_benign(level)} ≤ {_bound(most[level], unit)}"
    for level in _LOWER:
        if value < least[level] - slack:
            return f"{_benign(1 - level)} ≥ {_bound(least[level], unit)}"
    low, high = least[0.05], most[0.95]
    bounds = dict.fromkeys((_bound(low, unit), _bound(high, unit)))  # one where both are the same
    return f"{_benign(0.9)} {' to '.join(bounds)}"


def _bound(value: float, unit: str) -> str:
    """A small one stands beside a value that says its unit."""
    return number(value) if abs(value) < _LARGE else amount(value, unit)


def _of_category(bundle: DetectorBundle, feature: int, value: str) -> str:
    share = _share_of_category(bundle, feature, value)
    if share is None:
        return ""
    return f"so are {_percent(share)} of benign flows" if share else "no benign flow of training is"


def _share_of_category(bundle: DetectorBundle, feature: int, value: str) -> float | None:
    """Of the benign flows; None where the bundle does not know."""
    counts, categories = bundle.reference.benign_category_counts, bundle.preprocessor.columns[feature].categories
    end = int(bundle.reference.category_ends[feature])
    rows = int(counts[end - len(categories) - 1 : end].sum())
    if not rows or value not in categories:
        return None
    return float(counts[end - len(categories) + categories.index(value)] / rows)


def _benign(level: float) -> str:
    return "all benign flows of training" if level == 1 else f"{_percent(level)} of benign flows"


def _percent(share: float) -> str:
    return "under 0.1 %" if 0 < share < 0.001 else f"{round(100 * share, 1):g} %"
