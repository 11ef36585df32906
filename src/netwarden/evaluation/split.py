"""Which rows fit, calibrate, set the threshold, validate and test; nothing else splits data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import DataCheckError, SchemaError
from netwarden.flows.content import Hashes, row_hashes
from netwarden.flows.schema import FAMILY, SPLIT, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams

Parts = npt.NDArray[np.str_]
FIT, CALIBRATION, THRESHOLD, VALIDATION, TEST = "fit", "calibration", "threshold", "validation", "test"
TRAIN = "train"  # split of a dataset's own; its other two are named like the parts
_WORD = "U11"  # as long as the longest of them
_SLICE = "slice of time"


def assign_parts(table: FlowTable, schema: FlowSchema, params: TransformParams) -> Parts:
    """Part of each row: fit, calibration, threshold, validation or test.

    The dataset's own splits, else the schema's policy, say which rows test; the others are drawn by family, rows that
    belong together on one side. Where the dataset has a split `validation`, all rows of `train` fit and only the
    validation rows are drawn from, at most half of them to calibrate and to set the threshold. A row's part depends on
    the training rows of its family and on the seed only, never on row order or test rows.
    """
    groups = _groups(table, schema)
    families = np.asarray(table.arrow.column(FAMILY).to_pylist(), dtype=str)
    parts = np.full(len(table), TEST, dtype=_WORD)
    shares = {
        CALIBRATION: params.calibration_share,
        THRESHOLD: params.threshold_share,
        VALIDATION: params.validation_share,
    }
    drawn, rest = ~_tests(table, schema, groups, families, params), FIT
    splits = np.asarray(table.arrow.column(SPLIT).to_pylist(), dtype=str)
    if schema.split.by_file(splits) and VALIDATION in splits:
        parts[splits == TRAIN] = FIT
        drawn, rest = splits == VALIDATION, VALIDATION
        shares = {part: share / sum(shares.values()) for part, share in shares.items() if part != VALIDATION}
    parts[drawn] = draw(groups[drawn], families[drawn], rest, shares, params.seed)
    return parts


def _groups(table: FlowTable, schema: FlowSchema) -> Hashes:
    """Rows that stay on one side of every draw: one group of equal features or, where the schema says so, of equal
    `together` columns and family in one slice of time.
    """
    if not schema.split.together:
        return row_hashes(table.arrow, [column.name for column in schema.features])
    if schema.time_column is None:
        raise SchemaError(f"schema {schema.id} keeps slices of time together, but no column has the role time")
    clock = table.arrow.column(schema.time_column.name).cast(pa.int64())
    slices = pc.floor(pc.divide(clock.cast(pa.float64()), schema.split.together_s * 1e6))
    return row_hashes(table.arrow.append_column(_SLICE, slices), [*schema.split.together, FAMILY, _SLICE])


def draw(groups: Hashes, strata: Parts, rest: str, held_out: Mapping[str, float], seed: int) -> Parts:
    """Part of each row, `held_out` by share of rows within each stratum and all others `rest`; groups stay whole.

    A group too large for the smallest held-out part goes to `rest`, so that a flood of equal rows cannot become
    most of a part.
    """
    if sum(held_out.values()) >= 1:
        raise DataCheckError(f"the held-out shares {dict(held_out)} leave no rows to {rest}; lower them in params.json")
    if not len(groups):
        return np.empty(0, dtype=_WORD)
    unique, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    names, codes = np.unique(strata, return_inverse=True)
    stratum = np.full(len(unique), len(names))
    np.minimum.at(stratum, inverse, codes)  # a group whose rows disagree counts with its first family by name
    totals = np.bincount(stratum, weights=sizes, minlength=len(names))[stratum]
    lot = pd.util.hash_array(unique ^ np.uint64(seed))
    small = sizes <= min(held_out.values()) * totals
    order = np.lexsort((unique, lot, small, stratum))
    middle = _running_middles(sizes[order], stratum[order]) / totals[order]
    middle = 1 - (1 - middle) * _stretch(sizes, small, stratum, sum(held_out.values()))[order]
    edges = np.cumsum([1 - sum(held_out.values()), *held_out.values()])[:-1]
    part = np.empty(len(unique), dtype=np.int64)
    part[order] = np.searchsorted(edges, middle, side="right")
    return np.array([rest, *held_out])[part[inverse]]


def draw_alone(groups: Hashes, rest: str, held_out: Mapping[str, float], seed: int) -> Parts:
    """Part of each row by its group's hash alone, for rows too many to be drawn together: shares come out nearly."""
    lot = pd.util.hash_array(groups ^ np.uint64(seed)).astype(np.float64) / 2.0**64
    edges = np.cumsum([1 - sum(held_out.values()), *held_out.values()])[:-1]
    return np.array([rest, *held_out])[np.searchsorted(edges, lot, side="right")]


def first_test_instant(instants: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], share: float) -> int:
    """Instant from which on rows test, of all instants and how many rows began at each: the last share, or more.

    Raises DataCheckError where that would be all rows.
    """
    order = np.argsort(instants)
    ends = np.cumsum(rows[order])
    cut = instants[order][np.searchsorted(ends, int(ends[-1] * (1 - share)), side="right")]
    if cut == instants.min():
        raise DataCheckError("all rows have the time of the first one or none, so they cannot be split by time")
    return int(cut)


def _stretch(
    sizes: npt.NDArray[np.int64], small: npt.NDArray[np.bool_], stratum: npt.NDArray[np.int64], share: float
) -> npt.NDArray[np.float64]:
    """Per group, how much its stratum's held-out parts shrink so that each gets some of at most half the small groups.

    Where floods of equal rows leave few others, full parts would take all of these, and the first parts none.
    """
    left = (np.bincount(stratum, weights=sizes * small) / np.maximum(np.bincount(stratum, weights=sizes), 1))[stratum]
    return np.asarray(np.maximum(1.0, 2 * share / np.where(left > 0, left, np.inf)), np.float64)


def _running_middles(sizes: npt.NDArray[np.int64], stratum: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Rows before the middle of each group, counted from the start of its stratum."""
    ends = np.cumsum(sizes)
    starts = np.searchsorted(stratum, stratum)  # strata are sorted: index of each one's first group
    before = np.where(starts > 0, ends[starts - 1], 0)
    return np.asarray(ends - before - sizes / 2, np.float64)


def _tests(
    table: FlowTable, schema: FlowSchema, groups: Hashes, families: Parts, params: TransformParams
) -> npt.NDArray[np.bool_]:
    if schema.split.by_file(table.arrow.column(SPLIT).unique().to_pylist()):
        return _official(table, schema)
    if schema.split.policy == "time":
        return _latest(table, schema, params.test_share)
    held_out = {TEST: params.test_share}
    # Another seed than the inner draw's: the same lot would hand it the upper end of a sorted list.
    return np.asarray(draw(groups, families, FIT, held_out, params.seed + 1) == TEST)


def _official(table: FlowTable, schema: FlowSchema) -> npt.NDArray[np.bool_]:
    splits = table.arrow.column(SPLIT)
    found = set(splits.unique().to_pylist())
    if not {"train", "test"} <= found:
        raise DataCheckError(
            f"files say the splits of schema {schema.id} here, but the store has only {sorted(found) or 'no rows'}; "
            "load both the training and the test files with ETL.py"
        )
    return np.asarray(pc.equal(splits, "test").to_numpy(zero_copy_only=False), dtype=bool)


def _latest(table: FlowTable, schema: FlowSchema, share: float) -> npt.NDArray[np.bool_]:
    """Rows of the last share by time; rows of one instant stay together, rows without a time train."""
    if schema.time_column is None:
        raise SchemaError(f"schema {schema.id} splits by time, but none of its columns has the role time")
    clock = table.arrow.column(schema.time_column.name).cast(pa.int64())
    instants = pc.fill_null(clock, np.iinfo(np.int64).min).to_numpy()
    cut = np.sort(instants)[min(int(len(instants) * (1 - share)), len(instants) - 1)]
    late = np.asarray(instants >= cut, dtype=bool)
    if late.all():
        raise DataCheckError(f"all rows have the time of the first one or none, so schema {schema.id} cannot split")
    return late
