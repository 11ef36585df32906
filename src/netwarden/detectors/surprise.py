"""How rare evidence is among benign rows: what makes evidence of any scale comparable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST = 64.0  # nothing is held to be rarer than exp(-64)
_RAREST_ROWS = 10  # a share of fewer benign rows than these is not read off but extrapolated
_LEVELS_PER_DECADE = 10


@dataclass(frozen=True)
class Surprise:
    """Minus the logarithm of the share of benign rows with as much evidence, by straight lines between `levels`.

    Beyond the last of them it goes on rising as it did over the last tenfold rarer rows.
    """

    levels: Floats  # evidence, rising
    values: Floats  # surprise at each level, rising
    slope: float  # beyond the last level

    def of(self, evidence: Floats) -> Floats:
        """Surprise per row, between 0 and 64."""
        beyond = np.maximum(evidence - self.levels[-1], 0.0) * self.slope
        surprise: Floats = np.minimum(np.interp(evidence, self.levels, self.values) + beyond, MOST)
        return surprise


def fit_surprise(benign: Floats) -> Surprise:
    """Surprise read off the evidence of benign rows that served no fit.

    It rests on quantiles: how far out the oddest few rows lie changes nothing.
    """
    rarest = min(_RAREST_ROWS / len(benign), 0.5)
    shares = np.geomspace(1.0, rarest, max(2, round(-np.log10(rarest) * _LEVELS_PER_DECADE) + 1))
    levels, first = np.unique(np.quantile(benign, 1.0 - shares), return_index=True)
    values = -np.log(shares[first])
    before = np.interp(values[-1] - np.log(10.0), values, levels)
    return Surprise(levels, values, _slope(values, levels, float(before)))


def _slope(values: Floats, levels: Floats, before: float) -> float:
    rise = values[-1] - np.interp(before, levels, values)
    run = levels[-1] - before
    return float(rise / run) if run > 1e-9 and rise > 0 else 1.0
