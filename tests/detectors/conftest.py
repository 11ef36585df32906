"""Training rows as every detector kind gets them."""

import numpy as np
import pytest

from netwarden.detectors.base import FitRows
from netwarden.features.preprocessor import fit_preprocessor

ATTACKS = {"dos": ("neptune", "smurf"), "probe": ("ipsweep", "satan"), "r2l": ("guess_passwd", "imap")}


@pytest.fixture(scope="session")
def rows(flows, nsl_schema) -> FitRows:
    """The made-up flows as a matrix; some values are missing, some categories unknown; two attacks a family."""
    preprocessor = fit_preprocessor(flows, nsl_schema)
    matrix = preprocessor.transform(flows.arrow)
    draw = np.random.default_rng(5)
    matrix[draw.random(len(matrix)) < 0.05, 4] = np.nan
    matrix[draw.random(len(matrix)) < 0.05, 2] = -1
    matrix.flags.writeable = False
    families = np.array(flows.arrow.column("family").to_pylist())
    coins = draw.random(len(families)) < 0.5
    labels = [ATTACKS.get(name, (name,))[-1 if coin else 0] for name, coin in zip(families, coins, strict=True)]
    return FitRows.of(matrix, np.array(labels), families, preprocessor.categorical)
