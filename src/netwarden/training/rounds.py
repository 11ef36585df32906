"""One round of a protocol made ready to fit on and to judge by."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from netwarden.detectors.base import Matrix
from netwarden.evaluation.protocols import OUT, Round
from netwarden.evaluation.split import TEST
from netwarden.features.preprocessor import Preprocessor
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params, TransformParams
from netwarden.training.rows import TrainingRows, prepare


@dataclass(frozen=True)
class OpenRound:
    """Training rows, and the rows that judge; `places` say where these stand in the table, all arrays in its order."""

    preprocessor: Preprocessor
    training: TrainingRows
    matrix: Matrix
    labels: npt.NDArray[np.str_]
    families: npt.NDArray[np.str_]
    places: npt.NDArray[np.int64]

    @property
    def seen(self) -> frozenset[str]:
        """Names in the training rows."""
        return frozenset(self.training.labels.tolist())


def open_round(division: Round, table: FlowTable, schema: FlowSchema, params: TransformParams) -> OpenRound:
    """Rows of the parts that a round gives them; the preprocessor is fitted on its fit rows only."""
    kept = division.parts != OUT
    parts = division.parts[kept]
    among = replace(table, arrow=table.arrow.filter(kept))
    preprocessor, training = prepare(among, parts, schema, params.features, params.leave_out)
    tests = among.arrow.filter(parts == TEST)
    labels, families = (np.asarray(tests.column(name).to_pylist(), dtype=str) for name in (LABEL, FAMILY))
    places = np.flatnonzero(kept)[parts == TEST]
    return OpenRound(preprocessor, training, preprocessor.transform(tests), labels, families, places)


def seeded(params: Params, seed: int) -> Params:
    """The same parameters with one seed for the inner parts of the training rows, resampling and fits."""
    return params.model_copy(
        update={
            "transform": params.transform.model_copy(update={"seed": seed}),
            "train": params.train.model_copy(update={"seed": seed}),
        }
    )
