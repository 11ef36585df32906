"""Flows to matrix: the only transform there is, the same in training and wherever a bundle scores.

A category becomes its position in the vocabulary: first the categories that the schema lists, in its order, then,
for an open vocabulary, those that training rows had besides, sorted. A category outside it becomes −1 and is counted;
a missing value becomes NaN. Numbers become float32: integers are exact up to 2**24 and beyond it keep 24 significant
bits (a relative error below 6e-8, order kept); what float32 cannot hold saturates at its largest finite value.

A detector that needs scaled or one-hot columns derives them from this matrix and `categorical`, and keeps what it
fitted for that among its own files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import BundleError, SchemaError
from netwarden.features.arrays import pack_texts, read_arrays, unpack_texts, write_arrays
from netwarden.flows.schema import Column, FlowSchema
from netwarden.flows.table import FlowTable, require_columns

UNKNOWN_CODE = -1
MAX_CATEGORIES = 1024  # an open vocabulary keeps this many, the most frequent; beyond it a column is an identifier

_BLOCK_ROWS = 4096  # so many rows of the matrix stay in cache while its columns are written one by one
_LARGEST = np.finfo(np.float32).max
_FIELDS = ("schema_id", "names", "types", "units", "meanings", "categories", "category_counts")


@dataclass(frozen=True)
class FeatureColumn:
    """One column of the matrix; a category's code is its position in `categories`."""

    name: str
    type: str
    unit: str = ""
    meaning: str = ""
    categories: tuple[str, ...] = ()

    @property
    def categorical(self) -> bool:
        return self.type in ("string", "ip")

    @cached_property
    def vocabulary(self) -> Any:
        """`categories` as an Arrow array."""
        return pa.array(self.categories, pa.string())


@dataclass(frozen=True)
class Preprocessor:
    """Turns flow tables of one schema into matrices. Immutable; safe to call from several threads."""

    schema_id: str
    columns: tuple[FeatureColumn, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def categorical(self) -> tuple[bool, ...]:
        return tuple(column.categorical for column in self.columns)

    def transform(self, arrow_table: Any, unknown: Counter[str] | None = None) -> npt.NDArray[np.float32]:
        """Matrix (rows, features), float32 in C order; columns go by name, and those that are no features are ignored.

        `unknown` collects, per column, how many values were outside the vocabulary.
        Raises SchemaError for missing, doubled or wrongly typed columns.
        """
        arrays = _arrays(arrow_table, self.names, self.schema_id)
        parts = [_encode(values, column, unknown) for values, column in zip(arrays, self.columns, strict=True)]
        matrix = np.empty((arrow_table.num_rows, len(parts)), np.float32)
        for start in range(0, len(matrix), _BLOCK_ROWS):
            _write_block(matrix[start : start + _BLOCK_ROWS], parts, start)
        return matrix

    def save(self, path: Path) -> None:
        """Write the fitted state as an `.npz` of plain arrays; equal states give equal bytes."""
        texts = {
            "schema_id": [self.schema_id],
            "names": self.names,
            "types": [column.type for column in self.columns],
            "units": [column.unit for column in self.columns],
            "meanings": [column.meaning for column in self.columns],
            "categories": [text for column in self.columns for text in column.categories],
        }
        counts = np.array([len(column.categories) for column in self.columns], np.int64)
        write_arrays(path, {**{name: pack_texts(text) for name, text in texts.items()}, "category_counts": counts})


def fit_preprocessor(
    table: FlowTable, schema: FlowSchema, features: str = "", leave_out: Sequence[str] = ()
) -> Preprocessor:
    """Preprocessor for a schema, its open vocabularies learned from the rows of `table`: give it training rows only.

    `features`: `all`, or `stable` for those that are the same in every build of the meter; by default what the schema
    says. `leave_out`: patterns of names that are not used all the same. Raises SchemaError where a feature column is
    missing or is neither number nor text, or none is left.
    """
    columns = schema.trainable(features, leave_out)
    require_columns(table.arrow, [column.name for column in columns], schema.id)
    return Preprocessor(schema.id, tuple(_fit_column(table, column) for column in columns))


def load_preprocessor(path: Path) -> Preprocessor:
    """Preprocessor that `save` wrote. Raises BundleError where the file is damaged."""
    arrays = read_arrays(path, _FIELDS)
    texts = {name: unpack_texts(arrays[name]) for name in _FIELDS[:-1]}
    ends = np.cumsum(arrays["category_counts"])
    if len(texts["names"]) != len(ends) or (len(ends) and ends[-1] != len(texts["categories"])):
        raise BundleError(f"{path.name} does not hold one vocabulary per column; it is damaged")
    vocabularies = [
        tuple(texts["categories"][end - count : end])
        for end, count in zip(ends, arrays["category_counts"], strict=True)
    ]
    facts = zip(texts["names"], texts["types"], texts["units"], texts["meanings"], vocabularies, strict=True)
    return Preprocessor(texts["schema_id"][0], tuple(FeatureColumn(*fact) for fact in facts))


def _fit_column(table: FlowTable, column: Column) -> FeatureColumn:
    listed = column.categories
    if column.type == "time":
        raise SchemaError(f"column {column.name!r} is a time and cannot be a feature; give it the role time")
    if column.categorical and (column.open or not listed):
        listed += tuple(
            sorted(_most_frequent(_arrays(table.arrow, [column.name], table.schema_id)[0], column.name, set(listed)))
        )
    return FeatureColumn(column.name, column.type, column.unit, column.meaning, listed)


def _most_frequent(values: Any, name: str, listed: set[str]) -> list[str]:
    """Categories that are not listed: all, or the most frequent ones where there are too many (ties by name)."""
    counts = pc.value_counts(_texts(values, name)).to_pylist()
    found = [(-item["counts"], item["values"]) for item in counts if item["values"] not in (None, *listed)]
    return [text for _, text in sorted(found)[: max(0, MAX_CATEGORIES - len(listed))]]


class _Part(NamedTuple):
    """One column ready to be written into the matrix."""

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_] | None


def _encode(values: Any, column: FeatureColumn, unknown: Counter[str] | None) -> _Part:
    if pa.types.is_null(values.type):
        return _Part(np.full(len(values), np.nan, np.float32), None)
    missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    if column.categorical:
        return _Part(_codes(_texts(values, column.name), column, unknown), missing)
    return _Part(_numbers(values, column.name), missing)


def _codes(texts: Any, column: FeatureColumn, unknown: Counter[str] | None) -> npt.NDArray[np.int32]:
    codes = pc.index_in(texts, value_set=column.vocabulary)
    outside = codes.null_count - texts.null_count
    if outside and unknown is not None:
        unknown[column.name] += outside
    if codes.null_count:
        codes = codes.fill_null(UNKNOWN_CODE)
    plain: npt.NDArray[np.int32] = codes.to_numpy(zero_copy_only=False)
    return plain


def _numbers(values: Any, name: str) -> npt.NDArray[Any]:
    kind = values.type
    if pa.types.is_boolean(kind):
        values, kind = values.cast(pa.int8()), pa.int8()
    if pa.types.is_floating(kind):
        numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return numbers
    if pa.types.is_integer(kind):
        # Filled, because Arrow turns integers with nulls into float64, which rounds a second time.
        filled = values.fill_null(0) if values.null_count else values
        numbers = filled.to_numpy(zero_copy_only=False)
        return numbers
    raise SchemaError(f"column {name!r} holds {kind}, not numbers; were the rows conformed to their schema?")


def _texts(values: Any, name: str) -> Any:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    raise SchemaError(f"column {name!r} holds {kind}, not text; were the rows conformed to their schema?")


def _arrays(table: Any, names: Sequence[str], schema_id: str) -> list[Any]:
    """One array for each of these columns."""
    try:
        chosen = table.select(names)
    except KeyError:
        require_columns(table, list(names), schema_id)
        doubled = next(name for name in names if len(table.schema.get_all_field_indices(name)) > 1)
        times = len(table.schema.get_all_field_indices(doubled))
        raise SchemaError(f"column {doubled!r} occurs {times} times; which one is meant?") from None
    batches = chosen.to_batches()
    if len(batches) == 1:
        return list(batches[0].columns)
    return [column.combine_chunks() for column in chosen.columns]


def _write_block(block: npt.NDArray[np.float32], parts: list[_Part], start: int) -> None:
    stop = start + len(block)
    with np.errstate(over="ignore"):  # what is too large becomes infinite here, and the largest number below
        for position, (values, _) in enumerate(parts):
            block[:, position] = values[start:stop]
    np.clip(block, -_LARGEST, _LARGEST, out=block)
    for position, (_, missing) in enumerate(parts):
        if missing is not None:
            block[missing[start:stop], position] = np.nan
