"""Flows as Python hands them over (DataFrame, list of dicts, Arrow) as one Arrow table under the caller's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FlowSchema


def raw_table(flows: Any, schema: FlowSchema) -> Any:
    """Arrow table of an Arrow table or record batch, a DataFrame, or a sequence of dicts.

    Raises InputError where the values of a column are no numbers, texts or times.
    """
    if isinstance(flows, pa.RecordBatch):
        flows = pa.Table.from_batches([flows])
    if isinstance(flows, pd.DataFrame):
        arrays = [_array(flows.iloc[:, position], str(name)) for position, name in enumerate(flows.columns)]
        flows = pa.Table.from_arrays(arrays, names=[str(name) for name in flows.columns])
    elif not isinstance(flows, pa.Table):
        flows = _from_dicts(flows, schema)
    for field in flows.schema:
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise InputError(f"column {field.name!r} holds {field.type}; numbers, text or times are expected")
    return flows


def _from_dicts(rows: Any, schema: FlowSchema) -> Any:
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise InputError(f"flows come as a table, a DataFrame or a list of dicts, not as {type(rows).__name__}")
    if not rows:
        raise InputError("the list of flows is empty")
    names = list(dict.fromkeys(name for row in rows for name in row))
    _require_everywhere(rows, names, schema)
    return pa.table({str(name): _array([row.get(name) for row in rows], str(name)) for name in names})


def _require_everywhere(rows: Sequence[Mapping[Any, Any]], names: list[Any], schema: FlowSchema) -> None:
    """A feature that one flow has and another lacks is a mistake; a missing value is written as null."""
    spelled = {source.name: name for name, source in match_columns([str(name) for name in names], schema).items()}
    features = {column.name for column in schema.features}
    needed = [name for name in names if spelled.get(str(name)) in features]
    for position, row in enumerate(rows):
        lacking = [str(name) for name in needed if name not in row]
        if lacking:
            raise SchemaError(f"flow {position} lacks {', '.join(lacking[:8])}; write null for a value not observed")


def _array(values: Iterable[Any], name: str) -> Any:
    """Arrow array; values of mixed types become text, which is parsed and judged row by row later."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        pass
    if any(isinstance(value, Mapping | list | tuple | set) for value in values):
        raise InputError(f"column {name!r} holds lists or objects; numbers, text or times are expected")
    return pa.array([None if value is None else str(value) for value in values], pa.string())
