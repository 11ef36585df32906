"""The column layout a dataset gets from its first insert, and the row ids that every store keys on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import NotFoundError, StoreError
from netwarden.flows.schema import ROW_ID
from netwarden.flows.table import content_hash

ID_BYTES = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_name(dataset: str) -> str:
    """The dataset's name. Raises StoreError where some store could not hold it."""
    if not _NAME.fullmatch(dataset):
        raise StoreError(f"dataset name {dataset!r}: use up to 100 letters, digits, '_', '-' and '.'")
    return dataset


def layout_of(table: Any) -> Any:
    """Arrow schema that a dataset gets from its first rows: plain types, no metadata."""
    row_ids(table)
    return pa.schema([pa.field(field.name, _plain(field.type, field.name)) for field in table.schema])


def fit(table: Any, layout: Any, dataset: str) -> Any:
    """The table in a dataset's layout, columns in its order. Raises StoreError that names what differs."""
    missing = [name for name in layout.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in layout.names]
    if missing or extra or len(table.column_names) != len(layout.names):
        raise StoreError(
            f"dataset {dataset} has other columns than these rows: missing {missing}, extra {extra}; "
            "its first insert fixed them, so use another dataset name, or drop it and load again"
        )
    try:
        return table.select(layout.names).cast(layout)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StoreError(f"dataset {dataset}: a column is not of the type its first insert fixed: {error}") from None


def row_ids(table: Any) -> list[bytes]:
    """Row ids in row order. Raises StoreError where the column is missing or not 16 bytes everywhere."""
    if ROW_ID not in table.column_names:
        raise StoreError(f"rows have no column {ROW_ID!r}; a store keys on it")
    ids: list[bytes] = table.column(ROW_ID).to_pylist()
    if not all(isinstance(row, bytes) and len(row) == ID_BYTES for row in ids):
        raise StoreError(f"column {ROW_ID!r} must hold {ID_BYTES} bytes in every row")
    return ids


def first_rows(table: Any, ids: list[bytes], known: set[bytes]) -> tuple[Any, list[bytes]]:
    """The rows, and their ids, whose id is not known and has not come before in the same table."""
    fresh: dict[bytes, int] = {}
    for position, row in enumerate(ids):
        if row not in known:
            fresh.setdefault(row, position)
    if len(fresh) == len(ids):
        return table, ids
    return table.take(pa.array(fresh.values(), pa.int64())), list(fresh)


def add_ids(total: bytes, ids: list[bytes]) -> bytes:
    """Sum of row ids modulo 2^128: the same in any order of arrival, so it can be kept row by row."""
    value = int.from_bytes(total, "little") + sum(int.from_bytes(row, "little") for row in ids)
    return (value % (1 << 8 * ID_BYTES)).to_bytes(ID_BYTES, "little")


def content_hash_of(total: bytes, rows: int) -> str:
    """Content hash of a dataset from the sum of its row ids and their number."""
    return content_hash(b"dataset", total, rows.to_bytes(8, "little")).hex()


def other_schema(dataset: str, kept: str, offered: str) -> StoreError:
    return StoreError(f"dataset {dataset} holds rows of schema {kept}, not {offered}; use another dataset name")


def no_dataset(dataset: str, where: str, there: list[str]) -> NotFoundError:
    return NotFoundError(f"no dataset {dataset!r} in {where}; there are: {', '.join(there) or 'none'}")


def pack_layout(layout: Any) -> bytes:
    return bytes(layout.serialize())


def unpack_layout(packed: bytes) -> Any:
    return pa.ipc.read_schema(pa.py_buffer(packed))


def rebatch(tables: Iterable[Any], batch_rows: int) -> Iterator[Any]:
    """The same rows in tables of batch_rows; only the last may be shorter."""
    waiting: list[Any] = []
    held = 0
    for table in tables:
        waiting.append(table)
        held += table.num_rows
        while held >= batch_rows:
            merged = pa.concat_tables(waiting)
            yield merged.slice(0, batch_rows)
            waiting = [merged.slice(batch_rows)]
            held -= batch_rows
    if held:
        yield pa.concat_tables(waiting)


def counts(table: Any, column: str) -> dict[str, int]:
    """Rows per value of a text column; empty where the column is missing; null counts as ''."""
    if column not in table.column_names:
        return {}
    return {entry["values"] or "": entry["counts"] for entry in pc.value_counts(table.column(column)).to_pylist()}


def _plain(kind: Any, name: str) -> Any:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type, name)
    if pa.types.is_null(kind):
        raise StoreError(f"column {name!r} has no type: give it one, since the first insert fixes it")
    return pa.binary(ID_BYTES) if name == ROW_ID else kind
