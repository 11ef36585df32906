"""Log-odds and probabilities, each from the other."""

import numpy as np

from netwarden.detectors.log_odds import log_odds, probability


def test_each_undoes_the_other():
    odds = np.linspace(-30, 30, 601)
    assert np.allclose(log_odds(probability(odds)), odds, atol=1e-3)
    assert probability(np.array([0.0])) == 0.5 and log_odds(np.array([0.5])) == 0.0


def test_both_are_finite_and_rise_at_the_ends():
    odds = np.array([-np.inf, -1e6, -699.0, -1.0, 1.0, 1e6, np.inf])
    shares = probability(odds)
    assert np.isfinite(shares).all() and (shares > 0).all() and (shares <= 1).all()
    assert (np.diff(shares) >= 0).all()
    ends = log_odds(np.array([0.0, 1e-320, 0.5, 1.0]))
    assert np.isfinite(ends).all() and (np.diff(ends) >= 0).all()
