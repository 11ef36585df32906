"""NumPy arrays, in memory or in a `.npy` file, as Arrow tables that can be conformed to a schema."""

from __future__ import annotations

import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import InputError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import Column, FlowSchema
from netwarden.scoring.codes import Vocabulary

MAGIC = b"\x93NUMPY"

_UNKNOWN = "(not in the vocabulary)"  # stands for code −1; no vocabulary holds it, so it is mapped and counted
_NUMERIC, _TEXT = "biuf", "US"
# NumPy reads the header as Python source, and lets out what that makes of damaged bytes.
_DAMAGED = (ValueError, EOFError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError, tokenize.TokenError)
_HEADERS: dict[tuple[int, int], Callable[[BinaryIO], tuple[tuple[int, ...], bool, np.dtype[Any]]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True)
class RawRows:
    """Rows of an array under column names, categories as text; `refused` says why rows of the array are left out."""

    table: Any
    kept: npt.NDArray[np.int64]
    refused: dict[int, str]


def open_npy(path: Path) -> npt.NDArray[Any]:
    """The array of a `.npy` file, memory-mapped; nothing in it is ever unpickled.

    Raises InputError for anything that is not one whole array of numbers or named fields.
    """
    with path.open("rb") as file:
        shape, dtype = _read_header(file, path.name)
        _check_dtype(dtype, path.name)
        expected = file.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if path.stat().st_size < expected:
        raise InputError(f"{path.name} is cut short: {path.stat().st_size:,} of {expected:,} bytes; upload it again")
    if 0 in shape:
        raise InputError(f"{path.name} holds no rows (shape {shape})")
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def as_rows(array: npt.NDArray[Any], schema: FlowSchema, name: str = "the array") -> npt.NDArray[Any]:
    """The array as (rows, features), or as (rows,) with named fields; one flat row of the right length is one row.

    Raises InputError that says what the schema expects instead.
    """
    _check_dtype(array.dtype, name)
    features = len(schema.features)
    if array.dtype.names is not None:
        array = array.reshape(1) if array.ndim == 0 else array
        if array.ndim != 1:
            raise InputError(f"{name} has named fields and {array.ndim} dimensions; one row per record is expected")
    elif array.shape == (features,):
        array = array.reshape(1, features)
    elif array.ndim != 2 or array.shape[1] != features:
        raise InputError(f"{name} {_misfit(array.shape, schema)}")
    if len(array) == 0:
        raise InputError(f"{name} holds no rows (shape {array.shape})")
    return array


def raw_rows(rows: npt.NDArray[Any], schema: FlowSchema, vocabulary: Vocabulary) -> RawRows:
    """A slice of what `as_rows` returned, as a table under the array's own names."""
    refused: dict[int, str] = {}
    columns: dict[str, Any] = {}
    for name, column, values in _columns(rows, schema):
        if column is not None and column.categorical and values.dtype.kind in _NUMERIC:
            columns[name] = _decode(values, column, vocabulary, refused)
        else:
            columns[name] = pa.array(_native(values))
    keep = np.ones(len(rows), dtype=bool)
    keep[list(refused)] = False
    table = pa.table(columns)
    return RawRows(table.filter(pa.array(keep)) if refused else table, np.flatnonzero(keep), refused)


def _read_header(file: BinaryIO, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    start = file.read(len(MAGIC))
    if start != MAGIC:
        raise InputError(f"{name} is not a .npy file: {_likely_content(start)}; write it with numpy.save")
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        shape, _, dtype = _HEADERS.get(version, np.lib.format.read_array_header_2_0)(file)
    except _DAMAGED as error:
        reason = str(error.args[0] if error.args else error).splitlines()[0]
        raise InputError(f"{name} has a damaged .npy header: {reason}") from None
    if min(shape, default=0) < 0:
        raise InputError(f"{name} has a damaged .npy header: shape {shape}")
    return shape, dtype


def _likely_content(start: bytes) -> str:
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "it is an archive (.npz or zip) of several files"
    if start.startswith(b"\x80"):
        return "it is a pickle, which is never read"
    return "its first bytes are not NumPy's"


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.hasobject:
        raise InputError(
            f"{name} holds Python objects, which are never read; save numbers, or named fields with fixed-width text"
        )
    if dtype.names is None:
        if dtype.kind not in _NUMERIC:
            raise InputError(f"{name} holds {dtype}, not real numbers; categories go in as codes, or by named fields")
        return
    for field in dtype.names:
        kind = dtype[field]
        if kind.shape or kind.names or kind.kind not in _NUMERIC + _TEXT + "M":
            raise InputError(f"{name}: field {field!r} holds {kind}; each field must be one number, text or time")


def _misfit(shape: tuple[int, ...], schema: FlowSchema) -> str:
    features = schema.features
    wanted = f"schema {schema.id} has {len(features)} features, {features[0].name} to {features[-1].name}"
    if len(shape) != 2:
        return f"has shape {shape}; a table of shape (rows, {len(features)}) is expected: {wanted}"
    text = f"has {shape[1]} columns; {wanted}"
    others = [column.name for column in schema.columns if column.role != "feature"]
    extra = shape[1] - len(features)
    if shape[0] == len(features):
        return f"{text}; it has {shape[0]} rows, is it transposed?"
    if 0 < extra <= len(others):
        return f"{text}; leave out what is no feature, such as {', '.join(others[:4])}"
    return f"{text}; is it of another schema?"


def _columns(rows: npt.NDArray[Any], schema: FlowSchema) -> list[tuple[str, Column | None, npt.NDArray[Any]]]:
    if rows.dtype.names is None:
        return [(column.name, column, rows[:, position]) for position, column in enumerate(schema.features)]
    meant = {source.name: name for name, source in match_columns(rows.dtype.names, schema).items()}
    return [(field, schema.column(meant[field]) if field in meant else None, rows[field]) for field in rows.dtype.names]


def _decode(values: npt.NDArray[Any], column: Column, vocabulary: Vocabulary, refused: dict[int, str]) -> Any:
    """Categories of codes. −1 is a category outside an open vocabulary; any other stray number refuses its row."""
    categories = vocabulary.get(column.name, column.categories)
    numbers = values.astype(np.float64)
    missing = np.isnan(numbers)
    lowest = -1 if column.open or not column.categories else 0
    good = missing | ((numbers == np.rint(numbers)) & (numbers >= lowest) & (numbers < len(categories)))
    for row in np.flatnonzero(~good):
        refused.setdefault(int(row), f"{column.name}: no category has this code")
    codes = np.where(good & ~missing, numbers, -1).astype(np.int64)
    texts = pa.array([*categories, _UNKNOWN], pa.string())
    return texts.take(pa.array(np.where(codes < 0, len(categories), codes), mask=missing))


def _native(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Contiguous, in the machine's byte order and in a type Arrow has."""
    kind = values.dtype.kind
    if kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if kind == "f":
        return values.astype(np.float64 if values.dtype.itemsize >= 8 else np.float32)
    if kind == "M":
        return values.astype("datetime64[us]")
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
