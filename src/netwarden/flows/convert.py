"""One column of a file to a typed Arrow array: text parsed, units scaled, bad and missing values told apart."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import SchemaError
from netwarden.flows.schema import Column
from netwarden.flows.table import arrow_type
from netwarden.flows.times import parse_times

Mask = npt.NDArray[np.bool_]

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity|nan)$"
_INT64_LIMIT = 2.0**63


@dataclass(frozen=True)
class Refusal:
    """Rows of a batch that one rule refuses."""

    reason: str
    rows: Mask


@dataclass(frozen=True)
class Converted:
    """A column in its canonical type (null: missing), the rows it refuses, and changed values by kind."""

    values: Any
    refusals: list[Refusal] = field(default_factory=list)
    changed: dict[str, int] = field(default_factory=dict)


def convert(values: Any, column: Column, unit: str, missing: tuple[str, ...]) -> Converted:
    """Arrow array of the column's type from an array of text or of any type that can become it.

    `unit` is the unit of the values where it differs; `missing` are texts that mean: no value.
    """
    array = _flat(values)
    if column.type in ("int", "float"):
        return _numbers(array, column, column.factor(unit), missing)
    if column.type == "time":
        return _times(array, column, missing)
    return _texts(array, column, missing)


def _flat(values: Any) -> Any:
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.int8()) if pa.types.is_boolean(array.type) else array


# --- numbers ----------------------------------------------------------------------------------------------------


def _numbers(array: Any, column: Column, factor: float, missing: tuple[str, ...]) -> Converted:
    parsed, unparsable = _parse(array, column, factor, missing)
    if unparsable is None and _is_plain(parsed, column):
        return Converted(parsed)
    marks = _Marks(column)
    if unparsable is not None:
        marks.refuse("not a number", unparsable)
        marks.explained += int(unparsable.sum())
    parsed = _without_non_finite(parsed, marks)
    if column.type == "int":
        parsed = _whole(parsed, marks, rounded=factor != 1)
    parsed = _within_range(_without_sentinels(parsed, marks), marks)
    if column.missing == "refuse":
        marks.refuse("missing", marks.unexplained_nulls(parsed))
    marks.count("missing", parsed.null_count - marks.explained)
    return marks.converted(parsed)


def _is_plain(array: Any, column: Column) -> bool:
    """Whether nothing is missing, infinite, out of range or a sentinel: true of most columns of most files."""
    if array.null_count or not len(array) or array.type != arrow_type(column):
        return False
    numbers = array.to_numpy()
    least, most = numbers.min(), numbers.max()
    low, high = column.range
    return bool(
        math.isfinite(least)
        and math.isfinite(most)
        and (low is None or least >= low)
        and (high is None or most <= high)
        and not any(least <= sentinel <= most for sentinel in column.sentinels)
    )


@dataclass
class _Marks:
    """What was found in one column so far; `explained` counts nulls that are not plainly missing values."""

    column: Column
    refusals: list[Refusal] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    explained: int = 0

    def refuse(self, what: str, rows: Mask) -> None:
        if rows.any():
            self.refusals.append(Refusal(f"{self.column.name}: {what}", rows))

    def count(self, kind: str, values: int) -> None:
        if values:
            self.changed[kind] += values

    def drop(self, array: Any, rows: Mask) -> Any:
        """The array with these rows null."""
        self.explained += int(rows.sum())
        return pc.if_else(pa.array(rows), pa.scalar(None, array.type), array)

    def unexplained_nulls(self, array: Any) -> Mask:
        nulls = _mask(array.is_null())
        for refusal in self.refusals:
            nulls &= ~refusal.rows
        return nulls

    def converted(self, array: Any) -> Converted:
        return Converted(array, self.refusals, dict(self.changed))


def _parse(array: Any, column: Column, factor: float, missing: tuple[str, ...]) -> tuple[Any, Mask | None]:
    """Numbers scaled by a factor, and the rows that are none; whole columns of good text take the short way."""
    if pa.types.is_null(array.type):
        return array.cast(arrow_type(column)), None
    if not pa.types.is_string(array.type):
        return _scaled(_typed(array, column), factor), None
    if factor == 1:
        try:
            return array.cast(arrow_type(column)), None
        except pa.ArrowInvalid:
            pass  # blanks, missing values, integers written as floats, or bad rows: look closer
    return _parse_closely(array, column, factor, missing)


def _typed(array: Any, column: Column) -> Any:
    try:
        stays = pa.types.is_int64(array.type) and column.type == "int"
        return array if stays else array.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise SchemaError(
            f"column {column.name!r} holds values of type {array.type}, which are no numbers; is a column misplaced?"
        ) from None


def _scaled(array: Any, factor: float) -> Any:
    return array if factor == 1 else pc.multiply(array.cast(pa.float64()), factor)


def _parse_closely(array: Any, column: Column, factor: float, missing: tuple[str, ...]) -> tuple[Any, Mask | None]:
    text = _present(array, missing)
    if column.type == "int" and factor == 1:
        try:
            return text.cast(pa.int64()), None
        except pa.ArrowInvalid:
            pass
    try:
        return _parse_scaled(text, factor), None
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(text, _NUMBER)
        bad = _mask(pc.invert(good.fill_null(True)))
        return _parse_scaled(pc.if_else(good.fill_null(False), text, pa.scalar(None, pa.string())), factor), bad


def _parse_scaled(text: Any, factor: float) -> Any:
    """Text times a factor. A power of ten is written into the text, so that 0.1 s is 100000 µs to the last bit."""
    exponent = round(math.log10(factor))
    if exponent == 0 or not math.isclose(factor, 10.0**exponent):
        return _scaled(text.cast(pa.float64()), factor)
    plain = pc.invert(pc.match_substring_regex(text, "[eEnN]"))  # n: inf and nan
    shifted = pc.binary_join_element_wise(text, f"e{exponent}", "").cast(pa.string())
    numbers = pc.if_else(plain, shifted, text).cast(pa.float64())
    return pc.if_else(plain, numbers, pc.multiply(numbers, factor))


def _present(array: Any, missing: tuple[str, ...]) -> Any:
    """Trimmed text, null where it means missing."""
    text = pc.utf8_trim_whitespace(array)
    absent = pc.is_in(text, value_set=pa.array(missing, pa.string()))
    return pc.if_else(absent, pa.scalar(None, pa.string()), text)


def _without_non_finite(array: Any, marks: _Marks) -> Any:
    if not pa.types.is_floating(array.type):
        return array
    nan = _mask(pc.is_nan(array).fill_null(False))
    infinite = _mask(pc.is_inf(array).fill_null(False))
    array = pc.if_else(pa.array(nan), pa.scalar(None, array.type), array)
    if marks.column.infinite == "refuse":
        marks.refuse("infinite", infinite)
    else:
        marks.count("infinite", int(infinite.sum()))
    return marks.drop(array, infinite)


def _whole(array: Any, marks: _Marks, rounded: bool) -> Any:
    """int64 of numbers that are whole; values from another unit are rounded to the nearest."""
    if pa.types.is_int64(array.type):
        return array
    numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    nearest = np.rint(numbers)
    large = np.abs(nearest) >= _INT64_LIMIT
    fractional = np.zeros(len(numbers), dtype=bool) if rounded else nearest != numbers
    marks.refuse("not a whole number", fractional)
    marks.refuse("too large", large)
    whole = pa.array(np.where(large, 0, nearest).astype(np.int64), mask=_mask(array.is_null()))
    return marks.drop(whole, fractional | large)


def _without_sentinels(array: Any, marks: _Marks) -> Any:
    if not marks.column.sentinels:
        return array
    marked = _mask(pc.is_in(array, value_set=pa.array(marks.column.sentinels).cast(array.type, safe=False)))
    marks.count("sentinel", int(marked.sum()))
    return marks.drop(array, marked) if marked.any() else array


def _within_range(array: Any, marks: _Marks) -> Any:
    low, high = marks.column.range
    numbers = array.drop_null().to_numpy()
    outside = np.zeros(len(array), dtype=bool)
    outside[_mask(array.is_valid())] = (numbers < (-np.inf if low is None else low)) | (
        numbers > (np.inf if high is None else high)
    )
    if not outside.any():
        return array
    if marks.column.out_of_range == "refuse":
        marks.refuse("out of range", outside)
    else:
        marks.count("out_of_range", int(outside.sum()))
    return marks.drop(array, outside)


# --- text and time ----------------------------------------------------------------------------------------------


def _texts(array: Any, column: Column, missing: tuple[str, ...]) -> Converted:
    text = _present(array if pa.types.is_string(array.type) else array.cast(pa.string()), missing)
    marks = _Marks(column)
    if column.categories and not column.open:
        known = pc.is_in(text, value_set=pa.array(column.categories, pa.string()))
        marks.refuse("unknown category", _mask(pc.and_(pc.invert(known), text.is_valid())))
    if column.missing == "refuse":
        marks.refuse("missing", _mask(text.is_null()))
    marks.count("missing", text.null_count)
    return marks.converted(text)


def _times(array: Any, column: Column, missing: tuple[str, ...]) -> Converted:
    marks = _Marks(column)
    if pa.types.is_timestamp(array.type):
        instants = array.cast(pa.timestamp("us", tz="UTC"), safe=False)
    else:
        text = _present(array if pa.types.is_string(array.type) else array.cast(pa.string()), missing)
        instants = parse_times(text, column)
        marks.refuse("not a time", _mask(pc.and_(instants.is_null(), text.is_valid())))
    if column.missing == "refuse":
        marks.refuse("missing", marks.unexplained_nulls(instants))
    return marks.converted(instants)


def _mask(flags: Any) -> Mask:
    mask: Mask = flags.to_numpy(zero_copy_only=False).astype(bool)
    return mask
