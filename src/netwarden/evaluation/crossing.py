"""Two datasets over the numbers that both measure: a detector fitted on one is judged by the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.capture.definitions import FEATURES
from netwarden.errors import DataCheckError, SchemaError
from netwarden.evaluation.protocols import OUT, Protocol, Round
from netwarden.evaluation.split import TEST, VALIDATION, Parts, assign_parts
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL, ROW_ID, Column, FlowSchema, SplitPolicy
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams

CROSS = "cross-dataset"
MIN_SHARED_FEATURES = 5
AT_HOME = "at home"

_MODE_DEPENDENT = frozenset(feature.name for feature in FEATURES if feature.original_differs)
_KEPT = (ROW_ID, LABEL, FAMILY)


@dataclass(frozen=True)
class Shared:
    """One quantity that two schemas measure: its column in each, and what brings the second to the first's unit."""

    first: Column
    second: Column
    factor: float

    def __str__(self) -> str:
        other = "" if self.first.name == self.second.name else f" = {self.second.name}"
        return f"{self.first.name}{other}"


@dataclass(frozen=True)
class Crossing:
    """Rows of both datasets in one table of the shared features, and the protocol that divides them."""

    table: FlowTable
    schema: FlowSchema
    protocol: Protocol
    shared: tuple[Shared, ...]


def shared_features(first: FlowSchema, second: FlowSchema) -> tuple[Shared, ...]:
    """Numbers that mean the same in both schemas, in units that can be made one; by the first's names and order.

    Columns of one name mean the same, unless a schema says by `same_as` which one it is; those that a flow meter fills
    otherwise in another mode are shared only within a mode. Categories are left out: every tool spells its own.
    """
    which = "stable" if "stable" in (first.trains_on, second.trains_on) else "all"
    others = {_quantity(column): column for column in second.trainable(which) if not column.categorical}
    modes = {first.meter_mode, second.meter_mode} - {""}
    found = []
    for column in first.trainable(which):
        other = others.get(_quantity(column))
        differs = len(modes) == 2 and _quantity(column) in _MODE_DEPENDENT
        if column.categorical or other is None or differs:
            continue
        factor = _factor(column, other)
        if factor is not None:
            found.append(Shared(column, other, factor))
    return tuple(found)


def cross(
    train_name: str,
    train: tuple[FlowTable, FlowSchema],
    test_name: str,
    test: tuple[FlowTable, FlowSchema],
) -> Crossing:
    """Fitted on the training rows of the first dataset, judged by all rows of the second.

    Validation rows of the first, held out at random, are judged apart, as `at home`; its test rows play no part.
    Raises DataCheckError where both share too few features to tell anything by, or the second has no attacks or no
    benign flows.
    """
    (here, here_schema), (there, there_schema) = train, test
    shared = shared_features(here_schema, there_schema)
    if len(shared) < MIN_SHARED_FEATURES:
        raise DataCheckError(
            f"{train_name} ({here_schema.id}) and {test_name} ({there_schema.id}) share {len(shared)} numbers of one "
            f"meaning and unit ({', '.join(map(str, shared)) or 'none'}), and fewer than {MIN_SHARED_FEATURES} tell "
            "little; where columns of other names mean the same, say so in the schema (`same_as`)"
        )
    _require_both_classes(test_name, there)
    schema = FlowSchema(
        id=f"{here_schema.id}_and_{there_schema.id}",
        columns=tuple(Column(name=each.first.name, type="float", unit=each.first.unit) for each in shared),
        split=SplitPolicy(policy="official"),
    )
    columns = (
        _numbers(here, [(each.first, 1.0) for each in shared], schema),
        _numbers(there, [(each.second, each.factor) for each in shared], schema),
    )
    table = FlowTable(pa.concat_tables(columns).combine_chunks(), schema.id)
    meaning = (
        f"all rows of {test_name}, fitted on {train_name}, by the {len(shared)} features that both have "
        f"({', '.join(map(str, shared))}); `{AT_HOME}`: rows of {train_name} held out at random"
    )

    def divide(_table: FlowTable, _schema: FlowSchema, params: TransformParams) -> Iterator[Round]:
        parts = assign_parts(here, here_schema, params)
        yield _round(parts, test_name, len(there))

    return Crossing(table, schema, Protocol(CROSS, meaning, divide, looks=True), shared)


def _round(parts: Parts, test_name: str, abroad: int) -> Round:
    at_home = np.append(parts == VALIDATION, np.zeros(abroad, np.bool_))
    own = np.select([parts == TEST, parts == VALIDATION], [OUT, TEST], parts)
    divided = np.append(own, np.full(abroad, TEST))
    return Round("", divided, {test_name: (divided == TEST) & ~at_home, AT_HOME: at_home}, whole=False)


def _quantity(column: Column) -> str:
    return column.same_as or column.name


def _factor(column: Column, other: Column) -> float | None:
    try:
        return column.factor(other.unit) if other.unit or not column.unit else None
    except SchemaError:
        return None


def _numbers(table: FlowTable, columns: list[tuple[Column, float]], schema: FlowSchema) -> pa.Table:
    """The shared features under the first dataset's names, and what else a protocol needs."""
    arrays = [
        pc.multiply(table.arrow.column(column.name).cast(pa.float64()), pa.scalar(factor)) for column, factor in columns
    ]
    kept = {name: table.arrow.column(name) for name in _KEPT}
    return pa.table({**dict(zip((column.name for column in schema.columns), arrays, strict=True)), **kept})


def _require_both_classes(name: str, table: FlowTable) -> None:
    labels = set(table.arrow.column(LABEL).unique().to_pylist())
    if BENIGN not in labels or len(labels) < 2:
        raise DataCheckError(
            f"{name} has {'only benign flows' if BENIGN in labels else 'no benign flows'}, so it cannot judge a "
            "detector; load files of both kinds under one dataset name"
        )
