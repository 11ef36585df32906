"""Tables to files: Parquet, CSV or JSON lines, in bounded memory, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pyarrow.csv as pacsv
import pyarrow.parquet as pq

Write = Callable[[Any], None]  # takes Arrow tables of one schema


@contextmanager
def drafts(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Files that take their targets' names when the block ends well.

    A target whose draft was never begun is removed: it would be of an earlier run.
    """
    begun = tuple(path.with_name(f".{path.name}.{os.getpid()}.part") for path in targets)
    try:
        yield begun
        for draft, target in reversed(list(zip(begun, targets, strict=True))):
            if draft.exists():
                draft.replace(target)
            else:
                target.unlink(missing_ok=True)
    finally:
        for draft in begun:
            draft.unlink(missing_ok=True)


def table_writer(path: Path, suffix: str, schema: Any, *, plain_csv: bool = False) -> AbstractContextManager[Write]:
    """A function that appends Arrow tables of `schema` to a file, in the format of `suffix` (see FORMATS).

    `plain_csv`: CSV without any quotes, as some programs write and read it.
    """
    if plain_csv and suffix.lower() == ".csv":
        return _csv_writer(path, schema, pacsv.WriteOptions(quoting_style="none", quoting_header="none"))
    return _WRITERS[suffix.lower()](path, schema)


def write_lines(file: TextIO, table: Any) -> None:
    """Append the rows of an Arrow table as JSON lines, times in ISO 8601."""
    file.writelines(json.dumps(row, default=lambda at: at.isoformat()) + "\n" for row in table.to_pylist())


@contextmanager
def _parquet_writer(path: Path, schema: Any) -> Iterator[Write]:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv_writer(path: Path, schema: Any, options: Any = None) -> Iterator[Write]:
    with pacsv.CSVWriter(path, schema, write_options=options) as writer:
        yield writer.write_table


@contextmanager
def _lines_writer(path: Path, schema: Any) -> Iterator[Write]:  # noqa: ARG001 - as the others
    with path.open("w", encoding="utf-8") as file:
        yield partial(write_lines, file)


_WRITERS = {".parquet": _parquet_writer, ".csv": _csv_writer, ".jsonl": _lines_writer}
FORMATS = tuple(_WRITERS)
