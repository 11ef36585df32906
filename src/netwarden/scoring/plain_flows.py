"""Single flows read quickly: those whose values stand as the schema wants them, past the work on whole columns.

Conforming a table costs milliseconds before its first row, whatever its length. Most flows that programs send need none
of it: numbers within their range, known categories, nothing in another unit. Such flows are recognised value by value
and put into typed columns at once; every other goes the ordinary way by itself, so that each gets what it would get
alone (tests/scoring/test_plain_flows.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import InputError, NetwardenError
from netwarden.flows.conform import sources_of
from netwarden.flows.convert import convert
from netwarden.flows.schema import Column, FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.scoring.intake import read_table
from netwarden.scoring.records import raw_table

Flow = Mapping[str, Any]
_PLANS = 64  # sets of column names remembered


@dataclass(frozen=True)
class ReadFlows:
    """The flows that fit, which they were, and why each of the others does not."""

    table: FlowTable
    places: list[int]
    faults: dict[int, NetwardenError]


class FlowReader:
    """Reads flows of one schema, each by itself. Safe to share between threads."""

    def __init__(self, schema: FlowSchema) -> None:
        self._schema = schema
        self._plans: OrderedDict[tuple[str, ...], _Plan | NetwardenError] = OrderedDict()
        self._lock = Lock()

    def read(self, flows: Sequence[Flow]) -> ReadFlows:
        """Flows given by column name, under any spelling, as the schema has them."""
        alike: dict[tuple[str, ...], list[int]] = {}
        for place, flow in enumerate(flows):
            alike.setdefault(tuple(flow), []).append(place)
        tables: list[Any] = []
        places: list[int] = []
        faults: dict[int, NetwardenError] = {}
        for names, members in alike.items():
            plan = self._plan(names)
            if isinstance(plan, NetwardenError):
                faults |= dict.fromkeys(members, plan)
                continue
            table, plain = plan.read([flows[place] for place in members])
            tables.append(table)
            places += [members[at] for at in plain]
            for at in sorted(set(range(len(members))) - set(plain)):
                self._read_closely(flows[members[at]], members[at], tables, places, faults)
        return ReadFlows(FlowTable(_joined(tables, self._schema), self._schema.id), places, faults)

    def _read_closely(
        self, flow: Flow, place: int, tables: list[Any], places: list[int], faults: dict[int, NetwardenError]
    ) -> None:
        try:
            batch = read_table(raw_table([flow], self._schema), self._schema)
        except NetwardenError as error:
            faults[place] = error
            return
        if batch.rejected:
            faults[place] = InputError(batch.rejected[0].reason)
            return
        tables.append(batch.table.arrow)
        places.append(place)

    def _plan(self, names: tuple[str, ...]) -> _Plan | NetwardenError:
        with self._lock:
            known = self._plans.get(names)
            if known is None:
                known = self._plans[names] = _planned(names, self._schema)
                if len(self._plans) > _PLANS:
                    self._plans.popitem(last=False)
            return known


@dataclass(frozen=True)
class _Numbers:
    """The number features of one type, by the names that flows use."""

    names: tuple[str, ...]
    low: npt.NDArray[Any]
    high: npt.NDArray[Any]
    required: npt.NDArray[np.bool_]
    sentinels: tuple[tuple[int, float], ...]  # column, value that means: not observed
    allowed: frozenset[type]
    kind: type


@dataclass(frozen=True)
class _Plan:
    """How flows with one set of names become columns."""

    wholes: _Numbers
    floats: _Numbers
    texts: tuple[tuple[str, Column], ...]
    others: tuple[tuple[str, Column, str], ...]  # name in the flows, column, unit there: converted as columns are
    unknown: tuple[str, ...]  # names that are no columns of the schema
    schema: Any
    missing: frozenset[str]
    plain: bool  # no feature comes in another unit

    def read(self, flows: Sequence[Flow]) -> tuple[Any, list[int]]:
        """Table of the plain flows, and which those are."""
        good = [at for at, flow in enumerate(flows) if self.plain and self._is_typed(flow)]
        chosen = [flows[at] for at in good]
        try:
            wholes, absent = _matrix(self.wholes, chosen, np.int64)
            floats, unset = _matrix(self.floats, chosen, np.float64)
        except OverflowError:  # a number beyond int64: told closely
            return self.schema.empty_table(), []
        keep = _within(wholes, absent, self.wholes) & _within(floats, unset, self.floats)
        others = [_other(chosen, name, column, unit, keep, tuple(self.missing)) for name, column, unit in self.others]
        rows = np.flatnonzero(keep)
        columns = _columns(wholes[rows], absent[rows]) + _columns(floats[rows], unset[rows])
        columns += [pa.array([chosen[row][name] for row in rows], pa.string()) for name, _ in self.texts]
        columns += [values if len(rows) == len(keep) else values.take(pa.array(rows)) for values in others]
        return pa.Table.from_arrays(columns, schema=self.schema), [good[row] for row in rows]

    def _is_typed(self, flow: Flow) -> bool:
        for numbers in (self.wholes, self.floats):
            if not set(map(type, _values(numbers.names, flow))) <= numbers.allowed:
                return False
        if any(isinstance(flow[name], list | dict) for name in self.unknown):  # refused, though nobody reads it
            return False
        return all(self._is_category(flow[name], column) for name, column in self.texts)

    def _is_category(self, value: Any, column: Column) -> bool:
        if value is None:
            return column.missing != "refuse"
        if type(value) is not str or value in self.missing or value != value.strip():
            return False
        return column.open or not column.categories or value in column.categories


def _planned(names: tuple[str, ...], schema: FlowSchema) -> _Plan | NetwardenError:
    try:
        sources = sources_of(names, schema)
    except NetwardenError as error:
        return error
    features = [(sources[column.name].name, column) for column in schema.features]
    wholes = [(name, column) for name, column in features if column.type == "int"]
    floats = [(name, column) for name, column in features if column.type == "float"]
    texts = tuple((name, column) for name, column in features if column.categorical)
    others = tuple(
        (sources[column.name].name, column, sources[column.name].unit)
        for column in schema.stored
        if column.role != "feature" and column.name in sources
    )
    columns = [column for _, column in (*wholes, *floats, *texts)] + [column for _, column, _ in others]
    known = {source.name for source in sources.values()}
    return _Plan(
        _numbers(wholes, int),
        _numbers(floats, float),
        texts,
        others,
        tuple(name for name in names if name not in known),
        pa.schema([(column.name, arrow_type(column)) for column in columns]),
        frozenset(schema.file.missing),
        all(column.factor(sources[column.name].unit) == 1 for _, column in features),
    )


def _numbers(columns: Sequence[tuple[str, Column]], kind: type) -> _Numbers:
    lowest, highest = (np.iinfo(np.int64).min, np.iinfo(np.int64).max) if kind is int else (-np.inf, np.inf)
    bounds = [column.range for _, column in columns]
    return _Numbers(
        tuple(name for name, _ in columns),
        np.array([lowest if low is None else low for low, _ in bounds], np.float64),
        np.array([highest if high is None else high for _, high in bounds], np.float64),
        np.array([column.missing == "refuse" for _, column in columns], np.bool_),
        tuple((at, value) for at, (_, column) in enumerate(columns) for value in column.sentinels),
        frozenset((int, type(None)) if kind is int else (int, float, type(None))),
        kind,
    )


def _values(names: tuple[str, ...], flow: Flow) -> tuple[Any, ...]:
    if len(names) < 2:
        return tuple(flow[name] for name in names)
    values: tuple[Any, ...] = itemgetter(*names)(flow)
    return values


def _matrix(
    numbers: _Numbers, flows: Sequence[Flow], kind: type[np.generic]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Values (flows, columns) and where there is none; such a place holds 0."""
    rows = [_values(numbers.names, flow) for flow in flows]
    shape = (len(rows), len(numbers.names))
    absent = np.zeros(shape, np.bool_)
    for at, row in enumerate(rows):
        if None in row:
            absent[at] = [value is None for value in row]
            rows[at] = tuple(0 if value is None else value for value in row)
    values = np.array(rows, kind).reshape(shape)
    if numbers.kind is float:
        absent |= np.isnan(values)
        values[absent] = 0
    return values, absent


def _within(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_], numbers: _Numbers) -> npt.NDArray[np.bool_]:
    """Rows in which everything is finite, within its range, no sentinel, and there where it must be."""
    good = (values >= numbers.low) & (values <= numbers.high) & np.isfinite(values)
    for column, sentinel in numbers.sentinels:
        good[:, column] &= values[:, column] != sentinel
    return np.asarray(np.where(absent, ~numbers.required, good).all(axis=1), np.bool_)


def _other(
    flows: Sequence[Flow], name: str, column: Column, unit: str, keep: npt.NDArray[np.bool_], missing: tuple[str, ...]
) -> Any:
    """A column that no detector reads; flows that it refuses are not kept."""
    values = [flow[name] for flow in flows]
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) > 1 or not kinds <= {str, int, float}:
        keep[:] = False  # of several kinds, which a column makes into text: each is read by itself
        return pa.nulls(len(flows), arrow_type(column))
    try:
        converted = convert(pa.array(values, from_pandas=True), column, unit, missing)
    except (NetwardenError, pa.ArrowException, OverflowError):
        keep[:] = False
        return pa.nulls(len(flows), arrow_type(column))
    for refusal in converted.refusals:
        keep &= ~refusal.rows
    return converted.values


def _columns(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_]) -> list[Any]:
    """Arrow arrays of a matrix, one for each column."""
    if absent.any():
        return [pa.array(column, mask=gone) for column, gone in zip(values.T, absent.T, strict=True)]
    kind, size = pa.from_numpy_dtype(values.dtype), len(values) * values.itemsize
    # Over one buffer: to convert column by column cost more than all the scoring of a flow.
    joined = pa.py_buffer(np.ascontiguousarray(values.T))
    slices = [joined.slice(at * size, size) for at in range(values.shape[1])]
    return [pa.Array.from_buffers(kind, len(values), [None, part]) for part in slices]


def _joined(tables: list[Any], schema: FlowSchema) -> Any:
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return pa.schema([(column.name, arrow_type(column)) for column in schema.stored]).empty_table()
    return pa.concat_tables(tables, promote_options="default")
