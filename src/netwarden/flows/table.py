"""FlowTable: a typed wrapper of an Arrow table whose columns are canonical for one schema."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import SchemaError
from netwarden.flows.schema import METER_VERSION, Column, FlowSchema

ARROW_TYPES: dict[str, Any] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "ip": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True)
class MeterStamp:
    """Which flow meter made a table, in which mode; a bundle accepts only its own mode and version.

    The version is that of the features' meaning, not of a release.
    """

    mode: str
    version: str


@dataclass(frozen=True)
class FlowTable:
    """Flows with canonical column names and types.

    `arrow` holds schema columns (features, identifiers, time; missing values are null) and may hold the reserved
    columns row_id, label, family, split, source_file, source_line.
    """

    arrow: Any
    schema_id: str
    meter: MeterStamp | None = None

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def names(self) -> list[str]:
        return list(self.arrow.column_names)

    @property
    def meter_versions(self) -> list[str]:
        """Versions of our meter that made these flows; none where another tool did."""
        if self.meter is not None:
            return [self.meter.version]
        at = self.arrow.schema.get_field_index(METER_VERSION)
        if at < 0:
            return []
        versions = pc.unique(self.arrow.column(at)).drop_null().to_pylist()
        return sorted(versions)

    def slice(self, start: int, length: int) -> FlowTable:
        """Rows start … start + length, sharing memory."""
        return replace(self, arrow=self.arrow.slice(start, length))


def arrow_type(column: Column) -> Any:
    """Arrow type that a canonical column has."""
    return ARROW_TYPES[column.type]


def require_columns(table: Any, names: list[str], schema_id: str) -> None:
    """Raise SchemaError that names the missing columns and a likely cause."""
    present = set(table.schema.names)  # once, as Arrow builds the list anew; `column_names` takes ten times as long
    missing = [name for name in names if name not in present]
    if missing:
        shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
        raise SchemaError(
            f"{len(missing)} of {len(names)} columns of schema {schema_id} missing: {shown}; "
            "is this file in another schema?"
        )


def empty_table(schema: FlowSchema) -> FlowTable:
    """A table of no rows with all the stored columns of a schema."""
    fields = [pa.field(column.name, arrow_type(column)) for column in schema.stored]
    return FlowTable(pa.schema(fields).empty_table(), schema.id)


def content_hash(*parts: bytes) -> bytes:
    """16-byte id of some byte strings; lengths are hashed too, so parts never run together."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def alert_id(of_flow: str) -> str:
    """Id of the alert of a flow; without the bundle, so that a model swap never alerts twice."""
    return content_hash(b"alert", of_flow.encode()).hex()
