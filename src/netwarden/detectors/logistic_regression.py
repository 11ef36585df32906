"""Logistic regression, the baseline: one weight per scaled number and per category."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netwarden import logs
from netwarden.detector_params import LogisticRegressionParams
from netwarden.detectors.base import FitRows, Matrix, Part, Scores
from netwarden.detectors.dense import Floats, by_chunks, product, rounded_weights
from netwarden.detectors.log_odds import probability
from netwarden.detectors.scaling import SCALING_ARRAYS, Scaling, fit_scaling, restored_scaling
from netwarden.features.arrays import pack_texts, read_arrays, unpack_texts, write_arrays

_log = logs.get(__name__)
_FILE = "logistic_regression.npz"
_ARRAYS = ("weights", "intercept", "family_weights", "family_intercepts", "families", "features")


@dataclass(frozen=True)
class LogisticRegression:
    """Fitted weights (columns,) of attack, and (columns, families) of each family."""

    scaling: Scaling
    weights: Floats
    intercept: float
    family_weights: Floats
    family_intercepts: Floats
    families: tuple[str, ...]
    features: int
    parts: tuple[Part, ...] = ("supervised",)
    kind: str = "logistic_regression"

    def score(self, matrix: Matrix) -> Scores:
        """Probability of attack per row."""
        return probability(self.log_odds(matrix))

    def log_odds(self, matrix: Matrix) -> Floats:
        """Weighted sum of a row's columns."""
        return by_chunks(lambda rows: product(self.scaling.columns(rows), self.weights) + self.intercept, matrix)

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Log-odds of the score."""
        return self.log_odds(matrix)[:, None]

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """Weight times distance from the mean, and for categories their weight, in log-odds."""
        shares = self.scaling.by_feature(self.scaling.columns(matrix) * self.weights, self.features)
        base = np.full((len(matrix), 1), self.intercept)
        return np.hstack([shares, base])[:, None, :]

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """True for every row: this kind knows only attacks it was trained on."""
        return np.ones(len(matrix), np.bool_)

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index of the likeliest family per row."""
        if len(self.families) < 2:
            return np.zeros(len(matrix), np.int64)
        margins = by_chunks(lambda rows: product(self.scaling.columns(rows), self.family_weights), matrix)
        codes: npt.NDArray[np.int64] = np.argmax(margins + self.family_intercepts, axis=1)
        return codes

    def adapted(self, benign: Matrix) -> LogisticRegression:  # noqa: ARG002 - the weights belong to their scaling
        """Itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write plain arrays."""
        arrays = {
            **self.scaling.arrays(),
            "weights": self.weights,
            "intercept": np.array(self.intercept),
            "family_weights": self.family_weights,
            "family_intercepts": self.family_intercepts,
            "families": pack_texts(self.families),
            "features": np.array(self.features),
        }
        write_arrays(folder / _FILE, arrays)


@dataclass(frozen=True)
class LogisticRegressionKind:
    """Fits and loads logistic regressions."""

    name: str = "logistic_regression"
    section: str = "logistic_regression"

    def fit(
        self,
        rows: FitRows,
        params: LogisticRegressionParams,
        seed: int,  # noqa: ARG002 - a convex problem has one solution
        threads: int,  # noqa: ARG002 - BLAS decides
    ) -> LogisticRegression:
        """Weights fitted on rows. Raises TrainingError for a single class or too few rows."""
        rows.require_classes("logistic regression")
        scaling = fit_scaling(rows.matrix, rows.categorical)
        columns = scaling.columns(rows.matrix)
        weights, intercepts = _fit(columns, rows.attack, rows.weights, params)
        names = rows.family_names
        of_family, of_families = np.zeros((columns.shape[1], 0)), np.zeros(0)
        if len(names) > 1:
            attacks = rows.attack == 1
            codes = np.searchsorted(names, rows.families[attacks])
            of_family, of_families = _fit(columns[attacks], codes, rows.weights[attacks], params)
        return LogisticRegression(
            scaling, weights[:, -1], float(intercepts[-1]), of_family, of_families, names, rows.matrix.shape[1]
        )

    def load(self, folder: Path, threads: int) -> LogisticRegression:  # noqa: ARG002 - BLAS decides
        """Weights that `save` wrote."""
        arrays = read_arrays(folder / _FILE, (*_ARRAYS, *SCALING_ARRAYS))
        return LogisticRegression(
            restored_scaling(arrays),
            arrays["weights"],
            float(arrays["intercept"]),
            arrays["family_weights"],
            arrays["family_intercepts"],
            tuple(unpack_texts(arrays["families"])),
            int(arrays["features"]),
        )


def _fit(
    columns: Floats, target: npt.NDArray[np.integer], weights: npt.NDArray[np.float32], params: LogisticRegressionParams
) -> tuple[Floats, Floats]:
    """Rounded weights (columns, classes) and intercepts (classes,)."""
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 - serving never fits
    from sklearn.linear_model import LogisticRegression as Model  # noqa: PLC0415

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        model = Model(C=params.C, tol=params.tol, max_iter=params.max_iter).fit(columns, target, weights)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in heard):
        _log.warning("logistic regression stopped before it had converged", extra={"max_iter": params.max_iter})
    coefficients, intercepts = model.coef_.T, model.intercept_
    if len(model.classes_) == 2:  # one set of weights; the first class has none
        coefficients, intercepts = np.hstack([0 * coefficients, coefficients]), np.append(0.0, intercepts)
    return rounded_weights(coefficients), np.asarray(intercepts, np.float64)
