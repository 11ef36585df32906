"""Rows that may train, as a matrix; test rows never come here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from netwarden.evaluation.split import FIT, TEST, Parts
from netwarden.features.arrays import read_arrays, write_arrays
from netwarden.features.preprocessor import Preprocessor, fit_preprocessor
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL, ROW_ID, FlowSchema
from netwarden.flows.table import FlowTable, MeterStamp


@dataclass(frozen=True)
class TrainingRows:
    """Rows that may train, as a matrix; no test row is among them. All arrays are of one length."""

    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.str_]  # attack names, benign
    families: npt.NDArray[np.str_]
    parts: npt.NDArray[np.str_]

    @property
    def attack(self) -> npt.NDArray[np.int8]:
        return np.asarray(self.families != BENIGN, np.int8)

    def part(self, name: str) -> TrainingRows:
        """Only the rows of one part."""
        rows = self.parts == name
        return TrainingRows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def save(self, path: Path) -> None:
        """Write plain arrays; equal rows give equal bytes."""
        write_arrays(path, {field.name: getattr(self, field.name) for field in fields(self)})


def load_training_rows(path: Path) -> TrainingRows:
    """Rows that `save` wrote."""
    return TrainingRows(**read_arrays(path, tuple(field.name for field in fields(TrainingRows))))


def prepare(
    table: FlowTable, parts: Parts, schema: FlowSchema, features: str = "", leave_out: Sequence[str] = ()
) -> tuple[Preprocessor, TrainingRows]:
    """Preprocessor fitted on the fit rows only, and every row that is not a test row, transformed by it.

    `features`: all, stable, or empty for the schema's own default; `leave_out`: patterns of names not to train on.
    """
    preprocessor = fit_preprocessor(replace(table, arrow=table.arrow.filter(parts == FIT)), schema, features, leave_out)
    training = table.arrow.filter(parts != TEST)
    labels, families = (np.asarray(training.column(name).to_pylist(), dtype=str) for name in (LABEL, FAMILY))
    return preprocessor, TrainingRows(preprocessor.transform(training), labels, families, parts[parts != TEST])


def meter_stamp(table: FlowTable, schema: FlowSchema) -> MeterStamp | None:
    """Mode and versions of the flow meter that made the rows; None where no meter of ours did."""
    versions = table.meter_versions
    return MeterStamp(schema.meter_mode, ", ".join(versions)) if versions else None


def training_hash(table: FlowTable, parts: Parts) -> str:
    """Hash of the rows that may train, whatever the test rows are."""
    digest = hashlib.sha256()
    for row_id in sorted(pc.filter(table.arrow.column(ROW_ID), parts != TEST).to_pylist()):
        digest.update(row_id)
    return digest.hexdigest()
