"""An autoencoder whose network is made with NumPy, for everything but fitting it."""

import numpy as np

from netwarden.detectors.autoencoder import Autoencoder, assemble
from netwarden.detectors.base import FitRows
from netwarden.detectors.scaling import fit_scaling


def numpy_autoencoder(rows: FitRows, width: int = 8) -> Autoencoder:
    """Projection on the principal components of benign rows; each passes the rectifier as two units of either sign."""
    rows.require_classes("an autoencoder with calibrated scores")
    benign = rows.matrix[rows.attack == 0]
    scaling = fit_scaling(benign, rows.categorical)
    columns = scaling.columns(benign)
    middle = columns.mean(axis=0)
    axes = np.linalg.eigh(np.cov(columns.T))[1][:, -width:]
    both = np.hstack([axes, -axes])
    layers = [(both, -middle @ both), (np.vstack([axes.T, -axes.T]), middle)]
    return assemble(scaling, layers, benign, rows.matrix.shape[1])
