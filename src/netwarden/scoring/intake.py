"""Any file or array to flows of one schema, in batches; rows that do not fit are listed with their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from netwarden import logs
from netwarden.capture.opening import CaptureFile, is_capture
from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import conform
from netwarden.flows.labels import Families
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable, empty_table
from netwarden.scoring.arrays import MAGIC, as_rows, open_npy, raw_rows
from netwarden.scoring.codes import Vocabulary, category_codes, recipe, sample_npy, vocabulary_of
from netwarden.sources.files import read_batches
from netwarden.telemetry import ROWS_REJECTED

if TYPE_CHECKING:
    from netwarden.capture.metering import MeterReport

__all__ = [
    "BATCH_ROWS",
    "FlowBatch",
    "Place",
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
class Place:
    """How far an input was read: its rows, the lines of a text file, and what was skipped until there, by kind."""

    rows: int = 0
    lines: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)


START = Place()


@dataclass(frozen=True)
class FlowBatch:
    """Flows in input order, the input row (from 0) of each, and the rows between them that were rejected.

    `position` is the share of the input read so far; `notes` are sentences on what the input held besides flows.
    `place` is where the batch ends: reading can go on from there.
    """

    table: FlowTable
    rows: npt.NDArray[np.int64]
    rejected: list[RejectedInput]
    position: float = 1.0
    notes: tuple[str, ...] = ()
    place: Place = START


def read_flows(
    path: Path,
    schema: FlowSchema,
    vocabulary: Vocabulary | None = None,
    *,
    published: bool | None = None,
    batch_rows: int = BATCH_ROWS,
    after: Place = START,
    truth: Families | None = None,
) -> Iterator[FlowBatch]:
    """Flows of a `.npy`, CSV (plain or gz), Parquet, Arrow, Zeek or Suricata file, or of a capture, in bounded memory.

    `vocabulary` says what category codes mean (see `vocabulary_of`); without it, the schema's own categories count.
    A capture is metered in the schema's mode; `published`: its flows end as those of the published CICFlowMeter files
    do, by default where the schema's detectors are for such files. `after` goes on where an earlier reading of the
    same file had come to. With the families of `truth`, flows of a table have the labels that it holds, as `label` and
    `family`; null where nobody knows them.
    Raises InputError or SchemaError, in one sentence, where the file as a whole cannot be read as such flows.
    """
    with path.open("rb") as file:
        is_array = file.read(len(MAGIC)) == MAGIC
    if is_array or path.suffix.lower() == ".npy":
        yield from read_array(open_npy(path), schema, vocabulary, name=path.name, batch_rows=batch_rows, after=after)
    elif is_capture(path):
        yield from _read_capture(path, schema, schema.trains_on == "stable" if published is None else published, after)
    else:
        yield from _read_file(path, schema, batch_rows, after, truth)


def read_array(
    array: npt.NDArray[Any],
    schema: FlowSchema,
    vocabulary: Vocabulary | None = None,
    *,
    name: str = "the array",
    batch_rows: int = BATCH_ROWS,
    after: Place = START,
) -> Iterator[FlowBatch]:
    """Flows of a 2-D array of numbers in schema feature order, or of an array with named fields under any alias.

    A 1-D array of numbers is one row if its length fits. Raises InputError.
    """
    rows = as_rows(array, schema, name)
    for start in range(after.rows, len(rows), batch_rows):
        raw = raw_rows(rows[start : start + batch_rows], schema, vocabulary or {})
        batch = read_table(raw.table, schema)
        refused = [(start + row, reason) for row, reason in raw.refused.items()]
        refused += [(start + int(raw.kept[item.row]), item.reason) for item in batch.rejected]
        yield FlowBatch(
            batch.table,
            start + raw.kept[batch.rows],
            _counted([RejectedInput(row, reason) for row, reason in sorted(refused)]),
            min((start + batch_rows) / len(rows), 1.0),
            place=Place(min(start + batch_rows, len(rows))),
        )


def read_table(raw: Any, schema: FlowSchema) -> FlowBatch:
    """Flows of one Arrow table under any spelling of its columns."""
    fit = conform(raw, schema)
    return FlowBatch(fit.table, fit.kept, [RejectedInput(item.row, item.reason) for item in fit.rejected])


def _read_file(
    path: Path, schema: FlowSchema, batch_rows: int, after: Place, truth: Families | None
) -> Iterator[FlowBatch]:
    total, last_line = after.rows, after.lines
    skipped = Counter(after.skipped)
    labelled = truth is not None
    for batch in read_batches(path, schema, truth, with_truth=labelled, batch_rows=batch_rows, after_line=after.lines):
        skipped.update({kind: count for kind, count in batch.changed.items() if kind.startswith("skipped ")})
        # Every line of data was either kept or rejected, so a row's number is its line's rank.
        rejected = sorted(batch.rejected, key=lambda item: item.line)
        lines = np.sort(np.concatenate([batch.lines, [item.line for item in rejected]]).astype(np.int64))
        ranks = dict(zip(lines.tolist(), range(total, total + len(lines)), strict=True))
        rows = total + np.searchsorted(lines, batch.lines)
        total, last_line = total + len(lines), batch.last_line
        yield FlowBatch(
            batch.table,
            rows,
            _counted([RejectedInput(ranks[item.line], item.reason, item.line, item.text) for item in rejected]),
            batch.position,
            place=Place(total, last_line, dict(skipped)),
        )
    notes = tuple(f"{count:,} records skipped: {kind.removeprefix('skipped ')}" for kind, count in skipped.items())
    if total == 0:
        raise InputError(f"{path.name} holds no rows" + "".join(f"; {note}" for note in notes))
    if notes:
        yield FlowBatch(empty_table(schema), np.arange(0), [], 1.0, notes, Place(total, last_line, dict(skipped)))


def _read_capture(path: Path, schema: FlowSchema, published: bool, after: Place) -> Iterator[FlowBatch]:
    """Flows of a capture behind a place; those before it are metered again, as later ones depend on their packets."""
    from netwarden.capture.compiled import ready  # noqa: PLC0415 - only captures need Numba
    from netwarden.capture.meter import MeterSettings, cicflowmeter_settings  # noqa: PLC0415
    from netwarden.capture.metering import MeterReport, meter_captures, no_flows  # noqa: PLC0415

    if not schema.meter_mode:
        raise SchemaError(
            f"{path.name} is a packet capture, and flows of schema {schema.id} are not metered from packets here; "
            "choose a detector of netwarden_flow or cic_flow, or send a file of such flows"
        )
    ready(logs.get(__name__).info)
    original = schema.meter_mode == "cicflowmeter"
    settings = cicflowmeter_settings(first_fin_ends=published) if original else MeterSettings()
    report, total = MeterReport(), 0
    with closing(CaptureFile(path)) as file:
        for table in meter_captures([cast(Any, file)], settings, report=report):
            first, total = total, total + len(table)
            known = min(max(after.rows - first, 0), len(table))
            if known < len(table):
                fresh, rows = table.slice(known, len(table) - known), np.arange(first + known, total)
                yield FlowBatch(fresh, rows, [], file.position, place=Place(total))
    notes = tuple(_notes(report))
    if total == 0:
        raise InputError(f"{path.name} holds no flows: {'; '.join(notes) or 'it has no packets'}")
    yield FlowBatch(no_flows(settings), np.arange(0), [], 1.0, notes, Place(total))


_COUNTED = {
    "after_fin": "packets after a second FIN left out, as the original does",
    "evicted": "flows ended early, to make room",
    "fragments_joined": "later fragments joined to their flows",
    "late": "packets before the time of one before them",
    "not_ipv4": "packets of IPv6 left out, as the original does",
    "single_packet": "flows of one packet left out, as the original does",
}


def _notes(report: MeterReport) -> Iterator[str]:
    yield f"{report.stream.frames:,} frames held {report.packets:,} packets of {report.flows:,} flows"
    yield from (f"{frames:,} frames skipped: {reason}" for reason, frames in sorted(report.stream.skipped.items()))
    yield from (f"{count:,} {_COUNTED.get(name, name)}" for name, count in sorted(report.counts.items()) if count)
    yield from (f"{name} is cut: {what}" for name, what in report.stream.cut.items())


def _counted(rejected: list[RejectedInput]) -> list[RejectedInput]:
    """The same rows, added to the metric by kind: reasons may hold what a stranger sent, labels must not."""
    for kind, rows in Counter(_kind(item.reason) for item in rejected).items():
        ROWS_REJECTED.labels(kind).inc(rows)
    return rejected


def _kind(reason: str) -> str:
    return "wrong column count" if "columns instead of" in reason else reason.rpartition(": ")[2]
