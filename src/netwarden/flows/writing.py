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
from pyarrow import ipc

from netwarden.errors import InputError

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


@contextmanager
def table_writer(path: Path, suffix: str, schema: Any, *, plain_csv: bool = False) -> Iterator[Write]:
    """A function that appends Arrow tables of `schema` to a file, in the format of `suffix`.

    That is one of FORMATS, or `.arrow` (a stream), which is quick to write and to read back.

    `plain_csv`: CSV without any quotes, as some programs write and read it.
    Raises InputError where the file cannot be written, such as on a full disk.
    """
    writing = True  # else an error is that of whoever makes the tables
    try:
        with _writer(path, suffix.lower(), schema, plain_csv) as append:

            def write(table: Any) -> None:
                nonlocal writing
                writing = True
                append(table)
                writing = False

            writing = False
            yield write
            writing = True
    except OSError as error:
        if not writing:
            raise
        raise InputError(f"the output cannot be written in {path.parent.absolute()}: {why(error)}") from None


def why(error: OSError) -> str:
    """What the system says, without what a library adds."""
    return os.strerror(error.errno) if error.errno else str(error)


def _writer(path: Path, suffix: str, schema: Any, plain_csv: bool) -> AbstractContextManager[Write]:
    if plain_csv and suffix == ".csv":
        return _csv_writer(path, schema, pacsv.WriteOptions(quoting_style="none", quoting_header="none"))
    return _WRITERS[suffix](path, schema)


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


@contextmanager
def _arrow_writer(path: Path, schema: Any) -> Iterator[Write]:
    with ipc.new_stream(path, schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        yield writer.write_table


FORMATS = (".parquet", ".csv", ".jsonl")
_WRITERS = dict(zip(FORMATS, (_parquet_writer, _csv_writer, _lines_writer), strict=True)) | {".arrow": _arrow_writer}
