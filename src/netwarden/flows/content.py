"""Which rows hold the same: 64-bit hashes of some columns, independent of all other rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]


def row_hashes(arrow: pa.Table, names: Sequence[str]) -> Hashes:
    """One hash per row over the named columns; missing equals missing, 1 equals 1.0.

    A row's hash never depends on which other rows stand in the table, so dropping rows changes no group.
    """
    total = np.full(arrow.num_rows, 0x9E3779B97F4A7C15, np.uint64)
    for name in names:
        total = total * np.uint64(0x100000001B3) ^ _column_hashes(arrow.column(name))
    return total


def _column_hashes(column: pa.ChunkedArray) -> Hashes:
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
        return _hash(np.where(np.isnan(numbers), np.nan, numbers + 0.0))  # one NaN, one zero
    words = column.cast(pa.string()).combine_chunks().dictionary_encode()
    hashes = _hash(np.array([f"={word}" for word in words.dictionary.to_pylist()] + [""], dtype=object))
    indices = pc.fill_null(words.indices, len(words.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(hashes[indices], np.uint64)


def _hash(values: npt.NDArray[np.generic]) -> Hashes:
    return np.asarray(pd.util.hash_array(values, categorize=False), np.uint64)
