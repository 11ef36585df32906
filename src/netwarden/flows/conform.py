"""Any spelling of a flow table to a FlowTable: names, types, units, missing values and labels as the schema says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import SchemaError
from netwarden.flows.convert import Refusal, convert
from netwarden.flows.labels import Families
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema, fold_name, load_schema, schema_ids
from netwarden.flows.table import FlowTable, arrow_type, require_columns
from netwarden.flows.truth import read_labels


@dataclass(frozen=True)
class Rejection:
    """An input row that is no flow of this schema, and why."""

    row: int
    reason: str


@dataclass(frozen=True)
class Conformed:
    """The rows that fit, which they were, those that do not, and how many values were changed, by kind."""

    table: FlowTable
    kept: npt.NDArray[np.int64]
    rejected: list[Rejection]
    changed: dict[str, int]


@dataclass(frozen=True)
class Source:
    """Where a file holds one column: its position there, its spelling and its unit there."""

    position: int
    name: str
    unit: str


def conform(
    raw: Any,
    schema: FlowSchema,
    families: Families | None = None,
    *,
    labelled: bool = False,
    with_truth: bool = False,
) -> Conformed:
    """Flows with the schema's columns, in its order, of its types and units; rows that do not fit are listed.

    `raw` is an Arrow table under the file's own column names, of text or typed. Every feature must be there; with
    `labelled` also every column that is not optional, and the result has the columns `label` and `family`. So it has
    `with_truth` where the file says labels; there they are null where nobody knows them, and refuse no row.
    Columns the schema does not know are left out; known ones that are absent are null.

    Raises SchemaError where columns are missing, two columns of the file mean the same, or one is of a kin schema.
    """
    sources = sources_of(raw.column_names, schema, labelled=labelled)
    arrays: dict[str, Any] = {}
    refusals: list[Refusal] = []
    changed: Counter[str] = Counter()
    for column in schema.stored:
        source = sources.get(column.name)
        if source is None:
            arrays[column.name] = pa.nulls(raw.num_rows, arrow_type(column))
            continue
        converted = convert(raw.column(source.position), column, source.unit, schema.file.missing)
        arrays[column.name] = converted.values
        refusals += converted.refusals
        changed.update(converted.changed)
    if labelled:
        truth = read_labels(raw.column(_label_source(sources, schema).position), schema, families)
        arrays |= {LABEL: truth.labels, FAMILY: truth.families}
        refusals += truth.refusals
    elif with_truth and schema.label_column is not None and schema.label_column.name in sources:
        told = read_labels(raw.column(_label_source(sources, schema).position), schema, families)
        arrays |= {LABEL: told.labels, FAMILY: told.families}
    return _without_refused(pa.table(arrays), schema, refusals, dict(changed))


def sources_of(names: Sequence[str], schema: FlowSchema, *, labelled: bool = False) -> dict[str, Source]:
    """Where a table with these column names has each column. Raises SchemaError where it is none of the schema."""
    _refuse_foreign(names, schema)
    sources = match_columns(names, schema)
    _require(sources, schema, labelled)
    return sources


def match_columns(names: Sequence[str], schema: FlowSchema) -> dict[str, Source]:
    """Canonical name to its place in a file with these column names.

    Case and surrounding blanks do not count. Of a name that stands twice (CICFlowMeter's `Fwd Header Length`), the
    first counts. Raises SchemaError where two different names mean the same column.
    """
    found: dict[str, Source] = {}
    for position, name in enumerate(names):
        match = schema.spellings.get(fold_name(name))
        if match is None:
            continue
        column, unit = match
        earlier = found.get(column.name)
        if earlier is None:
            found[column.name] = Source(position, name, unit)
        elif fold_name(earlier.name) != fold_name(name):
            raise SchemaError(
                f"columns {earlier.name!r} and {name!r} both mean {column.name!r} in schema {schema.id}; remove one"
            )
    return found


def guess_schema(column_names: Sequence[str], folder: Path) -> FlowSchema:
    """The schema whose features all stand in a file with these columns; of several, the one that knows most of them.

    Raises SchemaError that names the nearest schema and what it misses.
    """
    schemas = [load_schema(name, folder) for name in schema_ids(folder)]
    if not schemas:
        raise SchemaError(f"no schema in {folder}; write one with `netwarden schema draft`")
    fits = [(*_fit(column_names, schema), schema) for schema in schemas]
    absent, _, nearest = min(fits, key=lambda fit: (len(fit[0]) / max(len(fit[2].features), 1), -fit[1], fit[2].id))
    if not absent:
        return nearest
    shown = ", ".join(absent[:8]) + (", …" if len(absent) > 8 else "")
    raise SchemaError(
        f"no schema fits these {len(column_names)} columns; the nearest, {nearest.id}, misses {len(absent)} of "
        f"{len(nearest.features)} features: {shown}; write a schema with `netwarden schema draft FILE --label COLUMN`"
    )


def _refuse_foreign(names: Sequence[str], schema: FlowSchema) -> None:
    found = sorted(set(names) & set(schema.foreign))
    if found:
        raise SchemaError(
            f"column {found[0]!r} shows that these flows are not of schema {schema.id}, though their names are alike: "
            "were they metered in another mode?"
        )


def _require(sources: dict[str, Source], schema: FlowSchema, labelled: bool) -> None:
    needed = [c.name for c in schema.columns if c.role == "feature" or (labelled and not c.optional)]
    require_columns(pa.table({name: pa.nulls(0) for name in sources}), needed, schema.id)


def _fit(column_names: Sequence[str], schema: FlowSchema) -> tuple[list[str], int]:
    """Features that a file lacks in a schema, and how many of its columns the schema knows."""
    try:
        found = match_columns(column_names, schema)
        _refuse_foreign(column_names, schema)
    except SchemaError:  # two of its columns mean the same there, or one is foreign: not a file of that schema
        found = {}
    return [column.name for column in schema.features if column.name not in found], len(found)


def _label_source(sources: dict[str, Source], schema: FlowSchema) -> Source:
    column = schema.label_column
    if column is None or column.name not in sources:
        raise SchemaError(f"schema {schema.id} finds no label column here; give the labels in a second file (--labels)")
    return sources[column.name]


def _without_refused(table: Any, schema: FlowSchema, refusals: list[Refusal], changed: dict[str, int]) -> Conformed:
    if not refusals:
        return Conformed(FlowTable(table, schema.id), np.arange(table.num_rows), [], changed)
    reasons: dict[int, str] = {}
    for refusal in refusals:
        for row in np.flatnonzero(refusal.rows):
            reasons.setdefault(int(row), refusal.reason)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(reasons)] = False
    rejected = [Rejection(row, reasons[row]) for row in sorted(reasons)]
    return Conformed(FlowTable(table.filter(pa.array(keep)), schema.id), np.flatnonzero(keep), rejected, changed)
