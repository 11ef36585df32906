"""Flow tables from files: CSV in any spelling, Zeek logs, JSON lines, Parquet and Arrow, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from netwarden.errors import InputError
from netwarden.flows.conform import conform, match_columns
from netwarden.flows.labels import Families
from netwarden.flows.schema import FileFormat, FlowSchema, fold_name
from netwarden.flows.table import FlowTable
from netwarden.sources.delimited import TextBlock, read_blocks
from netwarden.sources.store import RejectedRow
from netwarden.sources.text_layout import read_layout, sniff_format

BATCH_ROWS = 8192
_ARROW_ENDINGS = (".arrow", ".feather", ".arrows")
_KNOWN_ENDINGS = (".csv", ".txt", ".tsv", ".log", ".labeled", ".data", ".json", ".jsonl", ".parquet", *_ARROW_ENDINGS)
_LONGEST_QUARANTINED_TEXT = 2000


@dataclass(frozen=True)
class FileBatch:
    """Some consecutive rows of a file as flows.

    `lines` is the line (Parquet: row) number of each flow, from 1; `changed` counts changed values by kind, header
    lines repeated mid-file, and records that are no flows (`skipped event_type dns`); `last_line` is the line that the
    batch ends with, `position` the share of the file read so far.
    """

    table: FlowTable
    lines: npt.NDArray[np.int64]
    rejected: list[RejectedRow]
    changed: dict[str, int] = field(default_factory=dict)
    position: float = 1.0
    last_line: int = 0


def read_batches(  # noqa: PLR0913 - each is one fact about the file, and most callers say one or two
    path: Path,
    schema: FlowSchema,
    families: Families | None = None,
    *,
    labelled: bool = False,
    with_truth: bool = False,
    batch_rows: int = BATCH_ROWS,
    labels: Any = None,
    name: str = "",
    after_line: int = 0,
) -> Iterator[FileBatch]:
    """Flows of a file in batches of at most so many rows, in file order and bounded memory.

    `labelled` and `with_truth` are those of `conform`.
    `labels` is an Arrow array with one label per record, for files whose truth stands elsewhere. `name` is what
    rejected rows call the file. `after_line` goes on behind a line (Parquet: row), where no labels are given. Raises
    InputError for a file that cannot be read and SchemaError for one of another schema.
    """
    fits = _Labels(labels, schema, path)
    for block in _blocks(path, schema, batch_rows, after_line):
        raw = fits.put_into(block)
        conformed = conform(raw, schema, families, labelled=labelled, with_truth=with_truth)
        file = name or path.name
        rejected = [RejectedRow(file, line, reason, clipped(text)) for line, reason, text in block.malformed]
        rejected += [
            RejectedRow(file, int(block.lines[fault.row]), fault.reason, row_text(raw, fault.row, schema))
            for fault in conformed.rejected
        ]
        changed = conformed.changed
        if block.repeated_headers:
            changed = {**changed, "repeated_header": block.repeated_headers}
        if block.skipped:
            changed = {**changed, **{f"skipped {kind}": records for kind, records in block.skipped.items()}}
        lines = block.lines[conformed.kept]
        yield FileBatch(conformed.table, lines, rejected, changed, block.position, block.last_line)
    fits.require_all_used()


def column_names(path: Path, schema: FlowSchema | None = None) -> list[str]:
    """Names of a file's columns as it spells them; without a header the schema's, or `column_1` and so on."""
    if _is_parquet(path):
        return list(_parquet(path).schema_arrow.names)
    if _is_arrow(path):
        with _arrow_reader(path) as reader:
            return list(reader.schema.names)
    return list(read_layout(path, schema).names)


def sniff(path: Path) -> FileFormat:
    """Best guess how a file is written: header, delimiter, encoding."""
    return FileFormat() if _is_parquet(path) or _is_arrow(path) else sniff_format(path)


def read_label_file(path: Path, columns: Sequence[str] = ()) -> Any:
    """The labels of a second file, one per record, as an Arrow array of text (kept as codes: labels repeat).

    The column is the first of the given names that is there, else `label`, else the only one. Raises InputError that
    lists the columns.
    """
    names = column_names(path)
    position = _label_position(path, names, columns)
    blocks = list(_blocks(path, None, BATCH_ROWS))
    wrong = next((fault for block in blocks for fault in block.malformed), None)
    if wrong:
        raise InputError(f"label file {path.name}, line {wrong[0]}: {wrong[1]}; labels are matched row by row")
    texts = [block.table.column(position).combine_chunks().cast(pa.string()).dictionary_encode() for block in blocks]
    return pa.chunked_array(texts).unify_dictionaries().combine_chunks()


def is_flow_file(path: Path) -> bool:
    """Whether a file in a folder has an ending that flow tables have."""
    return path.is_file() and plain_name(path).lower().endswith(_KNOWN_ENDINGS)


def plain_name(path: Path) -> str:
    """File name without the ending that compression adds."""
    return path.name.removesuffix(".gz")


def row_text(raw: Any, row: int, schema: FlowSchema) -> str:
    """A row of a table as a file of the schema would spell it: what a quarantine keeps."""
    cells = (raw.column(position)[row].as_py() for position in range(raw.num_columns))
    return clipped(schema.file.delimiter.join("" if cell is None else str(cell) for cell in cells))


def clipped(text: str) -> str:
    """As much of a bad row as a quarantine keeps."""
    return text[:_LONGEST_QUARANTINED_TEXT]


# --- blocks of any format ---------------------------------------------------------------------------------------


def _blocks(path: Path, schema: FlowSchema | None, batch_rows: int, after_line: int = 0) -> Iterator[TextBlock]:
    if _is_parquet(path):
        file = _parquet(path)
        yield from _typed_blocks(
            _parquet_batches(file, batch_rows, after_line), after_line, file.metadata.num_rows, path
        )
    elif _is_arrow(path):
        yield from _typed_blocks(_behind(_arrow_batches(path, batch_rows), after_line), after_line, 0, path)
    else:
        yield from read_blocks(path, read_layout(path, schema), batch_rows, after_line)


def _typed_blocks(batches: Iterator[Any], done: int, rows: int, path: Path) -> Iterator[TextBlock]:
    try:
        for batch in batches:
            table = pa.Table.from_batches([batch])
            records = np.arange(done, done + len(table))
            done += len(table)
            position = done / rows if rows else 0.0
            yield TextBlock(table, records + 1, records, records_so_far=done, last_line=done, position=position)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} is damaged after row {done}: {error}") from None


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _is_arrow(path: Path) -> bool:
    return path.suffix.lower() in _ARROW_ENDINGS


def _parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} is not a Parquet file: {error}") from None


def _parquet_batches(file: Any, batch_rows: int, after_row: int) -> Iterator[Any]:
    """Batches behind a row; row groups before it are not read."""
    first = 0
    while first < file.num_row_groups and after_row >= (rows := file.metadata.row_group(first).num_rows):
        first, after_row = first + 1, after_row - rows
    groups = list(range(first, file.num_row_groups))
    return _behind(file.iter_batches(batch_size=batch_rows, row_groups=groups), after_row)


def _behind(batches: Iterator[Any], row: int) -> Iterator[Any]:
    """The batches without their first rows."""
    for batch in batches:
        passed = min(row, len(batch))
        row -= passed
        if passed < len(batch):
            yield batch.slice(passed)


def _arrow_reader(path: Path) -> Any:
    try:
        source = pa.memory_map(str(path))
        start = source.read(6)
        source.seek(0)
        return ipc.open_file(source) if start == b"ARROW1" else ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} is not an Arrow file: {error}") from None


def _arrow_batches(path: Path, batch_rows: int) -> Iterator[Any]:
    with _arrow_reader(path) as reader:
        batches = (
            (reader.get_batch(index) for index in range(reader.num_record_batches))
            if hasattr(reader, "num_record_batches")
            else iter(reader)
        )
        for batch in _whole(batches, path):
            for start in range(0, len(batch), batch_rows):
                yield batch.slice(start, batch_rows)


def _whole(batches: Iterator[Any], path: Path) -> Iterator[Any]:
    """The batches, each checked to its last offset first: a damaged one would end the process, not raise."""
    try:
        for batch in batches:
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} is damaged: {str(error).splitlines()[0]}") from None


# --- labels in a second file ------------------------------------------------------------------------------------


class _Labels:
    """Labels of a second file on their way to the rows they belong to."""

    def __init__(self, labels: Any, schema: FlowSchema, path: Path) -> None:
        self._labels, self._schema, self._path = labels, schema, path
        self._used = 0

    def put_into(self, block: TextBlock) -> Any:
        """The block's table, its label column replaced by the labels of its records."""
        if self._labels is None:
            return block.table
        self._used = block.records_so_far
        if self._used > len(self._labels):
            raise InputError(f"the label file has {len(self._labels)} rows, fewer than {self._path.name}")
        column = self._schema.label_column
        if column is None:
            raise InputError(f"schema {self._schema.id} has no label column to put the labels in")
        own = match_columns(block.table.column_names, self._schema).get(column.name)
        table = block.table if own is None else block.table.remove_column(own.position)
        return table.append_column(column.name, self._labels.take(pa.array(block.records)))

    def require_all_used(self) -> None:
        """Raise InputError where labels are left over: the files do not belong together."""
        if self._labels is not None and self._used != len(self._labels):
            raise InputError(
                f"the label file has {len(self._labels)} rows, {self._path.name} has {self._used}; "
                "labels are matched row by row"
            )


def _label_position(path: Path, names: list[str], columns: Sequence[str]) -> int:
    folded = [fold_name(name) for name in names]
    for wanted in map(fold_name, (*columns, "label")):
        if wanted in folded:
            return folded.index(wanted)
    if len(names) == 1:
        return 0
    raise InputError(f"label file {path.name} has no column {', '.join(columns) or 'label'}, only {', '.join(names)}")
