"""Tables to files: Parquet, CSV or JSON lines, in bounded memory, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

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


def table_writer(path: Path, suffix: str, schema: Any) -> AbstractContextManager[Write]:
    """A function that appends Arrow tables of `schema` to a file, in the format of `suffix` (see FORMATS)."""
    return _WRITERS[suffix.lower()](path, schema)


@contextmanager
def _parquet_writer(path: Path, schema: Any) -> Iterator[Write]:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv_writer(path: Path, schema: Any) -> Iterator[Write]:
    with pacsv.CSVWriter(path, schema) as writer:
        yield writer.write_table


@contextmanager
def _lines_writer(path: Path, schema: Any) -> Iterator[Write]:  # noqa: ARG001 - as the others
    with path.open("w", encoding="utf-8") as file:

        def write(table: Any) -> None:
            file.writelines(json.dumps(row, default=lambda at: at.isoformat()) + "\n" for row in table.to_pylist())

        yield write


_WRITERS = {".parquet": _parquet_writer, ".csv": _csv_writer, ".jsonl": _lines_writer}
FORMATS = tuple(_WRITERS)
