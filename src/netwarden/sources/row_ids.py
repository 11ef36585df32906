"""Row ids: a hash over dataset, split and the row in one canonical spelling, so that loading twice adds nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.flows.table import content_hash

ID_BYTES = 16
_NO_TEXT = b"\x00" * ID_BYTES
Words = npt.NDArray[np.int64]


def row_ids(table: Any, dataset: str, split: str, places: list[bytes] | None = None) -> Any:
    """Arrow array of 16-byte ids of an Arrow table's rows; its columns count, in their order.

    Ids depend on nothing but the arguments: not on batch borders, types' widths or other rows. `places` tells equal
    rows apart where each counts.
    """
    prefix = (dataset.encode(), split.encode())
    packed = np.column_stack([_presence(table), *(_words(column) for column in table.columns)])
    width = packed.shape[1] * packed.itemsize
    data = packed.tobytes()
    rows = (data[start : start + width] for start in range(0, len(data), width))
    if places is None:
        ids = [content_hash(*prefix, row) for row in rows]
    else:
        ids = [content_hash(*prefix, row, place) for row, place in zip(rows, places, strict=True)]
    return pa.array(ids, pa.binary(ID_BYTES))


class SeenRows:
    """Which row ids came before in this run: 8 bytes an id, in sorted runs of growing length."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.uint64]] = []

    def first_time(self, ids: Any) -> npt.NDArray[np.bool_]:
        """True for each id that neither an earlier call nor an earlier place in this one had."""
        keys = np.frombuffer(ids.buffers()[1], np.uint64)[:: ID_BYTES // 8][ids.offset : ids.offset + len(ids)]
        fresh = np.zeros(len(keys), dtype=bool)
        unique, first = np.unique(keys, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for run in self._runs:
            known |= run[np.minimum(np.searchsorted(run, unique), len(run) - 1)] == unique
        fresh[first[~known]] = True
        self._add(unique[~known])
        return fresh

    def _add(self, run: npt.NDArray[np.uint64]) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


def _presence(table: Any) -> Words:
    """(rows, k) words that tell which values are there, one bit a column."""
    present = np.column_stack([column.is_valid().to_numpy() for column in table.columns])
    bits = np.packbits(present, axis=1)
    padded = np.zeros((len(bits), -(-bits.shape[1] // 8) * 8), np.uint8)
    padded[:, : bits.shape[1]] = bits
    return padded.view(np.int64)


def _words(column: Any) -> Words:
    """(rows, k) words of one column's values; texts by the hash of their bytes, missing values as 0."""
    array = column.combine_chunks()
    if pa.types.is_string(array.type):
        return _text_words(array)
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    if not pa.types.is_floating(array.type):
        return np.asarray(array.fill_null(0).to_numpy(zero_copy_only=False), np.int64)[:, np.newaxis]
    numbers = np.asarray(array.fill_null(0.0).to_numpy(zero_copy_only=False), np.float64) + 0.0  # -0.0 becomes 0.0
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)[:, np.newaxis]


def _text_words(array: Any) -> Words:
    encoded = array.dictionary_encode()
    hashes = [content_hash(text.encode()) for text in encoded.dictionary.to_pylist()]
    by_code = np.frombuffer(b"".join([*hashes, _NO_TEXT]), np.int64).reshape(-1, ID_BYTES // 8)
    words: Words = by_code[encoded.indices.fill_null(len(hashes)).to_numpy(zero_copy_only=False)]
    return words
