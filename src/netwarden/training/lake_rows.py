"""What an executor does with training rows of a lake: clean them, and turn clean ones into rows of a matrix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.evaluation.split import TEST, draw_alone
from netwarden.features.preprocessor import Preprocessor
from netwarden.flows.content import row_hashes
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.scoring.lake_rows import FAULT, ORIGIN, BundleFiles, RowReader, scorer_of, widened

CONTENT, PART, FEATURES, ATTACK = "content", "part", "features", "attack"
MATRIX_SCHEMA = pa.schema(
    [
        (FEATURES, pa.list_(pa.float32())),
        (ATTACK, pa.int32()),
        (LABEL, pa.string()),
        (FAMILY, pa.string()),
        (PART, pa.string()),
    ]
)
_TRUTH = [pa.field(LABEL, pa.string()), pa.field(FAMILY, pa.string())]
_SCORED = [pa.field("score", pa.float64()), pa.field("verdict", pa.string()), pa.field("named", pa.string())]
JUDGED_SCHEMA = pa.schema([*_TRUTH, *_SCORED, pa.field("threshold", pa.float64())])


@dataclass(frozen=True)
class RowCleaner:
    """Conforms labelled rows; those that do not fit come out with a reason, as `RowScorer` does it."""

    reader: RowReader

    @property
    def columns(self) -> Any:
        """Arrow schema of what `clean` gives; `content` is the hash of a row's features."""
        stored = [pa.field(column.name, arrow_type(column)) for column in self.reader.schema.stored]
        return pa.schema([*ORIGIN, *stored, *_TRUTH, pa.field(CONTENT, pa.int64()), *FAULT])

    def clean(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Record batches to record batches."""
        names = [column.name for column in self.reader.schema.features]
        for batch in batches:
            fit, origin, rejected = self.reader.read(pa.Table.from_batches([batch]))
            flows = fit.table.arrow
            hashes = pa.array(row_hashes(flows, names).view(np.int64))
            for at, name in enumerate(origin.column_names):
                flows = flows.add_column(at, name, origin.column(name))
            good = widened(flows.append_column(CONTENT, hashes), self.columns)
            yield from pa.concat_tables([good, widened(rejected, self.columns)]).combine_chunks().to_batches()


@dataclass(frozen=True)
class RowMaker:
    """Turns clean rows into rows of the matrix, each with its part: those from `test_from_us` on test."""

    schema: FlowSchema
    preprocessor: Preprocessor
    test_from_us: int
    rest: str
    held_out: Mapping[str, float]
    seed: int

    def make(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Record batches of clean flows to record batches of MATRIX_SCHEMA."""
        for batch in batches:
            table = pa.Table.from_batches([batch])
            matrix = self.preprocessor.transform(table)
            offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
            columns = [
                pa.ListArray.from_arrays(offsets, matrix.ravel()),
                pc.not_equal(table.column(FAMILY), BENIGN).cast(pa.int32()),
                table.column(LABEL),
                table.column(FAMILY),
                pa.array(self._parts(table)),
            ]
            yield from pa.Table.from_arrays(columns, schema=MATRIX_SCHEMA).combine_chunks().to_batches()

    def _parts(self, table: Any) -> list[str]:
        groups = table.column(CONTENT).to_numpy().view(np.uint64)
        parts = draw_alone(groups, self.rest, self.held_out, self.seed)
        return [str(part) for part in np.where(self._late(table), TEST, parts)]

    def _late(self, table: Any) -> Any:
        return instants_us(table, self.schema) >= self.test_from_us


@dataclass(frozen=True)
class RowJudge:
    """Scores clean rows beside their truth."""

    schema: FlowSchema
    bundle: BundleFiles

    def judge(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Record batches of clean flows to record batches of JUDGED_SCHEMA."""
        for batch in batches:
            table = pa.Table.from_batches([batch])
            flows = FlowTable(table.drop_columns(CONTENT), self.schema.id)
            result = scorer_of(self.bundle).score(flows, path="evaluate")
            judged = [result.column(name) for name in ("score", "verdict", "family", "threshold")]
            columns = [table.column(LABEL), table.column(FAMILY), *judged]
            yield from pa.Table.from_arrays(columns, schema=JUDGED_SCHEMA).combine_chunks().to_batches()


def instants_us(table: Any, schema: FlowSchema) -> Any:
    """When each flow began; where nobody knows, long ago."""
    assert schema.time_column is not None  # noqa: S101 - refused before anything is read
    clock = table.column(schema.time_column.name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return pc.fill_null(clock, np.iinfo(np.int64).min).to_numpy()
