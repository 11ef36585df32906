"""What an executor does with rows of a lake: read, conform, score. It travels there, bundle and all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from netwarden.detectors.bundle import DetectorBundle, load_bundle
from netwarden.flows.conform import Conformed, conform
from netwarden.flows.labels import Families
from netwarden.flows.schema import FlowSchema
from netwarden.scoring.output import output_columns, output_schema
from netwarden.scoring.scorer import Scorer
from netwarden.sources.delimited import parse_lines
from netwarden.sources.files import clipped, row_text
from netwarden.sources.text_layout import Layout

FILE, ROW, VALUE = "file", "row", "value"
REASON, TEXT = "reason", "text"
ORIGIN = [pa.field(FILE, pa.string()), pa.field(ROW, pa.int64())]
FAULT = [pa.field(REASON, pa.string()), pa.field(TEXT, pa.string())]

BundleFiles = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class RowReader:
    """Reads batches as Spark gives them: `file` and `row`, then typed columns, or lines of text as bytes in `value`."""

    schema: FlowSchema
    layout: Layout | None
    labelled: bool = False
    families: Families | None = None

    def read(self, given: Any) -> tuple[Conformed, Any, Any]:
        """Flows of a table, where each comes from, and the rows that are none with their reason."""
        raw, places, malformed = self._raw(given)
        fit = conform(raw, self.schema, self.families, labelled=self.labelled)
        bad = [(int(places[item.row]), item.reason, row_text(raw, item.row, self.schema)) for item in fit.rejected]
        bad += [(place, reason, clipped(text)) for place, reason, text in malformed]
        origin = given.select([FILE, ROW])
        faults = [pa.array([fault[at] for fault in bad], pa.string()) for at in (1, 2)]
        rejected = origin.take(pa.array([fault[0] for fault in bad], pa.int64()))
        for field, values in zip(FAULT, faults, strict=True):
            rejected = rejected.append_column(field, values)
        return fit, origin.take(pa.array(places[fit.kept])), rejected

    def _raw(self, given: Any) -> tuple[Any, Any, list[tuple[int, str, str]]]:
        if self.layout is None:
            return given.drop_columns([FILE, ROW]), np.arange(len(given)), []
        lines = given.column(VALUE).to_pylist()
        return parse_lines(b"".join(line + b"\n" for line in lines), self.layout)


@dataclass(frozen=True)
class RowScorer:
    """Scores what a reader reads; rows that are no flows come out as well, with a reason and without a score."""

    reader: RowReader
    bundle: BundleFiles

    @property
    def columns(self) -> Any:
        """Arrow schema of what `score` gives."""
        return output_schema(ORIGIN, self.reader.schema, FAULT)

    def score(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Record batches to record batches."""
        scorer = scorer_of(self.bundle)
        for batch in batches:
            fit, origin, rejected = self.reader.read(pa.Table.from_batches([batch]))
            result = scorer.score(fit.table, path="spark")
            columns = [*origin.columns, *output_columns(fit.table, self.reader.schema, result)]
            nothing = [pa.nulls(len(fit.table), field.type) for field in FAULT]
            good = pa.Table.from_arrays([*columns, *nothing], schema=self.columns)
            yield from pa.concat_tables([good, widened(rejected, self.columns)]).combine_chunks().to_batches()


def widened(table: Any, schema: Any) -> Any:
    """The table with all columns of a schema, null where it has none."""
    names = set(table.column_names)
    columns = [table.column(f.name) if f.name in names else pa.nulls(len(table), f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def bundle_files(bundle: DetectorBundle) -> BundleFiles:
    """All files of a bundle, to be sent."""
    return tuple((path.name, path.read_bytes()) for path in sorted(bundle.folder.iterdir()))


@lru_cache(maxsize=2)
def scorer_of(files: BundleFiles) -> Scorer:
    """Scorer of a bundle that was sent, verified like any other; a worker process keeps it from task to task."""
    with tempfile.TemporaryDirectory(prefix="netwarden-bundle-") as folder:
        for name, data in files:
            (Path(folder) / name).write_bytes(data)
        return Scorer(load_bundle(Path(folder)), threads=1)
