"""Log-odds and probabilities, each from the other, finite throughout."""

from __future__ import annotations

import numpy as np

from netwarden.detectors.base import Scores

_LEAST, _MOST = 1e-300, 1.0 - 2.0**-53  # 0 and 1 have no log-odds
_WIDEST = 700.0  # beyond, exp leaves float64


def log_odds(share: Scores) -> Scores:
    """Logarithm of p / (1 - p) of probabilities, finite also for 0 and 1."""
    bounded = np.clip(share, _LEAST, _MOST)
    odds: Scores = np.log(bounded / (1.0 - bounded))
    return odds


def probability(odds: Scores) -> Scores:
    """The logistic curve of log-odds, in [0, 1], 0 itself left out."""
    curve: Scores = 1.0 / (1.0 + np.exp(-np.clip(odds, -_WIDEST, _WIDEST)))
    return curve
