"""Training rows as every detector kind gets them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from netwarden.features.preprocessor import fit_preprocessor


@dataclass(frozen=True)
class TrainingRows:
    """Arguments of `DetectorKind.fit`, and the preprocessor that made the matrix."""

    matrix: Any
    labels: Any
    families: Any
    categorical: tuple[bool, ...]
    preprocessor: Any

    def arguments(self, **changed):
        names = ("matrix", "labels", "families", "categorical")
        return {**{name: getattr(self, name) for name in names}, "params": {}, "seed": 1, "threads": 1, **changed}

    def of(self, rows):
        return {"matrix": self.matrix[rows], "labels": self.labels[rows], "families": self.families[rows]}


@pytest.fixture(scope="session")
def rows(flows, nsl_schema) -> TrainingRows:
    """The made-up flows as a matrix; some values are missing and some categories unknown."""
    preprocessor = fit_preprocessor(flows, nsl_schema)
    matrix = preprocessor.transform(flows.arrow)
    draw = np.random.default_rng(5)
    matrix[draw.random(len(matrix)) < 0.05, 4] = np.nan
    matrix[draw.random(len(matrix)) < 0.05, 2] = -1
    matrix.flags.writeable = False
    families = np.array(flows.arrow.column("family").to_pylist(), object)
    return TrainingRows(
        matrix, (families != "benign").astype(np.int8), families, preprocessor.categorical, preprocessor
    )
