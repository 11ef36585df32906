"""Scored flows as rows of an output: where each came from, what identifies it, and what the detector says."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.flows.schema import Column, FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.scoring.scorer import RESULT

_PREDICTION = pa.field("prediction", pa.int8())  # 0 benign, −1 attack: how users of arrays write it


def output_schema(origin: list[Any], schema: FlowSchema, further: list[Any]) -> Any:
    """Arrow schema of scored flows: `origin`, the schema's identifiers and times, result, prediction, `further`."""
    about = [pa.field(column.name, arrow_type(column)) for column in _identifying(schema)]
    return pa.schema([*origin, *about, *RESULT, _PREDICTION, *further])


def output_columns(table: FlowTable, schema: FlowSchema, result: Any) -> list[Any]:
    """Values of the columns between `origin` and `further`, of flows and what `Scorer.score` said of them."""
    about = [_column(table, column) for column in _identifying(schema)]
    return [*about, *result.columns, prediction(result)]


def prediction(result: Any) -> Any:
    """0 for benign and −1 for intrusion, as users of `.npy` uploads expect, of a result of `Scorer.score`."""
    alert = pc.not_equal(result.column("verdict"), "benign")
    return pc.negate(alert.cast(pa.int8()))


def _identifying(schema: FlowSchema) -> list[Column]:
    return [column for column in schema.stored if column.role in ("identifier", "time")]


def _column(table: FlowTable, column: Column) -> Any:
    """A column of a table; empty where its source has none, as captures lack what a laboratory knows."""
    present = column.name in table.names
    return table.arrow.column(column.name) if present else pa.nulls(len(table), arrow_type(column))
