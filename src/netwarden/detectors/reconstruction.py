"""What few principal components of benign rows cannot put together again is unlike what is usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Matrix
from netwarden.detectors.dense import Floats, by_chunks, product, rounded_inputs, rounded_weights
from netwarden.detectors.scaling import SCALING_ARRAYS, Scaling, fit_scaling, restored_scaling


@dataclass(frozen=True)
class Reconstruction:
    """Fitted on benign rows: their mean and principal components, over scaled columns."""

    scaling: Scaling
    mean: Floats  # (columns,)
    components: Floats  # (columns, kept)

    def missed(self, matrix: Matrix) -> Floats:
        """Squared residual per row, over all features."""
        return by_chunks(lambda rows: np.einsum("ij,ij->i", *[self._residual(rows)] * 2), matrix)

    def missed_by_feature(self, matrix: Matrix) -> Floats:
        """(rows, features): squared residual of each feature."""
        return self.scaling.by_feature(self._residual(matrix) ** 2, matrix.shape[1])

    def _residual(self, matrix: Matrix) -> Floats:
        off = self.scaling.columns(matrix) - self.mean
        kept = rounded_inputs(product(off, self.components))
        return off - rounded_inputs(product(kept, self.components.T))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Fitted state, to be kept in an `.npz`."""
        return {**self.scaling.arrays(), "mean": self.mean, "components": self.components}


RECONSTRUCTION_ARRAYS = (*SCALING_ARRAYS, "mean", "components")


def fit_reconstruction(
    benign: Matrix, categorical: tuple[bool, ...], variance_kept: float, elsewhere: Scaling | None = None
) -> Reconstruction:
    """Reconstruction by so many components that they hold a share of the variance of these rows.

    `elsewhere` says how numbers vary that never do so here; without it, nothing is known of these and they count for
    nothing.
    """
    scaling = fit_scaling(benign, categorical)
    if elsewhere is not None:
        scaling = scaling.varying_as(elsewhere)
    columns = scaling.columns(benign)
    mean = rounded_inputs(columns.mean(axis=0))
    off = columns - mean
    variances, directions = np.linalg.eigh(off.T @ off / len(off))
    held = np.cumsum(variances[::-1]) / max(float(variances.sum()), 1e-12)
    kept = int(np.searchsorted(held, variance_kept)) + 1
    return Reconstruction(scaling, mean, rounded_weights(np.ascontiguousarray(directions[:, ::-1][:, :kept])))


def restored_reconstruction(arrays: Mapping[str, npt.NDArray[Any]]) -> Reconstruction:
    """Reconstruction whose `arrays` were kept."""
    return Reconstruction(restored_scaling(arrays), arrays["mean"], arrays["components"])
