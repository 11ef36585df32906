"""Any file or array to flows of one schema, in batches; rows that do not fit are listed with their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden.errors import InputError
from netwarden.flows.conform import conform
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.scoring.arrays import MAGIC, as_rows, open_npy, raw_rows
from netwarden.scoring.codes import Vocabulary, category_codes, recipe, sample_npy, vocabulary_of
from netwarden.sources.files import read_batches
from netwarden.telemetry import ROWS_REJECTED

__all__ = [
    "BATCH_ROWS",
    "FlowBatch",
    "RejectedInput",
    "Vocabulary",
    "category_codes",
    "read_array",
    "read_flows",
    "read_table",
    "recipe",
    "sample_npy",
    "vocabulary_of",
]

BATCH_ROWS = 32_768


@dataclass(frozen=True)
class RejectedInput:
    """An input row that is no flow, and why. Rows count from 0, without header; `line` is 0 where there are none."""

    row: int
    reason: str
    line: int = 0
    text: str = ""


@dataclass(frozen=True)
class FlowBatch:
    """Flows in input order, the input row (from 0) of each, and the rows between them that were rejected.

    `position` is the share of the input read so far.
    """

    table: FlowTable
    rows: npt.NDArray[np.int64]
    rejected: list[RejectedInput]
    position: float = 1.0


def read_flows(
    path: Path, schema: FlowSchema, vocabulary: Vocabulary | None = None, *, batch_rows: int = BATCH_ROWS
) -> Iterator[FlowBatch]:
    """Flows of a `.npy`, CSV (plain or gz), Parquet, Arrow or Zeek file, in bounded memory.

    `vocabulary` says what category codes mean (see `vocabulary_of`); without it, the schema's own categories count.
    Raises InputError or SchemaError, in one sentence, where the file as a whole cannot be read as such flows.
    """
    with path.open("rb") as file:
        is_array = file.read(len(MAGIC)) == MAGIC
    if is_array or path.suffix.lower() == ".npy":
        yield from read_array(open_npy(path), schema, vocabulary, name=path.name, batch_rows=batch_rows)
    else:
        yield from _read_file(path, schema, batch_rows)


def read_array(
    array: npt.NDArray[Any],
    schema: FlowSchema,
    vocabulary: Vocabulary | None = None,
    *,
    name: str = "the array",
    batch_rows: int = BATCH_ROWS,
) -> Iterator[FlowBatch]:
    """Flows of a 2-D array of numbers in schema feature order, or of an array with named fields under any alias.

    A 1-D array of numbers is one row if its length fits. Raises InputError.
    """
    rows = as_rows(array, schema, name)
    for start in range(0, len(rows), batch_rows):
        raw = raw_rows(rows[start : start + batch_rows], schema, vocabulary or {})
        batch = read_table(raw.table, schema)
        refused = [(start + row, reason) for row, reason in raw.refused.items()]
        refused += [(start + int(raw.kept[item.row]), item.reason) for item in batch.rejected]
        yield FlowBatch(
            batch.table,
            start + raw.kept[batch.rows],
            _counted([RejectedInput(row, reason) for row, reason in sorted(refused)]),
            min((start + batch_rows) / len(rows), 1.0),
        )


def read_table(raw: Any, schema: FlowSchema) -> FlowBatch:
    """Flows of one Arrow table under any spelling of its columns."""
    fit = conform(raw, schema)
    return FlowBatch(fit.table, fit.kept, [RejectedInput(item.row, item.reason) for item in fit.rejected])


def _read_file(path: Path, schema: FlowSchema, batch_rows: int) -> Iterator[FlowBatch]:
    total = 0
    for batch in read_batches(path, schema, batch_rows=batch_rows):
        # Every line of data was either kept or rejected, so a row's number is its line's rank.
        rejected = sorted(batch.rejected, key=lambda item: item.line)
        lines = np.sort(np.concatenate([batch.lines, [item.line for item in rejected]]).astype(np.int64))
        ranks = dict(zip(lines.tolist(), range(total, total + len(lines)), strict=True))
        yield FlowBatch(
            batch.table,
            total + np.searchsorted(lines, batch.lines),
            _counted([RejectedInput(ranks[item.line], item.reason, item.line, item.text) for item in rejected]),
            batch.position,
        )
        total += len(lines)
    if total == 0:
        raise InputError(f"{path.name} holds no rows")


def _counted(rejected: list[RejectedInput]) -> list[RejectedInput]:
    """The same rows, added to the metric by kind: reasons may hold what a stranger sent, labels must not."""
    for kind, rows in Counter(_kind(item.reason) for item in rejected).items():
        ROWS_REJECTED.labels(kind).inc(rows)
    return rejected


def _kind(reason: str) -> str:
    return "wrong column count" if "columns instead of" in reason else reason.rpartition(": ")[2]
