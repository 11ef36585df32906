"""What a file seems to be, from its beginning, before all of it is sent."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from netwarden.capture.opening import is_capture
from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FlowSchema
from netwarden.portal.access.people import needs
from netwarden.portal.reference import faults
from netwarden.scoring.arrays import MAGIC
from netwarden.sources.files import column_names

router = APIRouter()
_ROWS, _CELLS = 4, 12
_WHOLE = (".parquet", ".arrow", ".feather", ".gz", ".zst", ".xz")  # cannot be read from their beginning alone


class Preview(BaseModel):
    """What a file seems to be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "says": "A table with all 41 features of NSL-KDD.",
                "fits": True,
                "columns": ["duration", "protocol_type"],
                "rows": [["0", "tcp"]],
            }
        },
    )
    says: str
    fits: bool | None = Field(description="Whether the schema's features are all there; null: it cannot be told yet")
    columns: list[str] = Field(description="The first of them, as the file spells them")
    rows: list[list[str]]


@router.post(
    "/api/v1/uploads/preview",
    tags=["detect"],
    summary="Preview of a file",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 413, 422, 503),
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def preview(
    request: Request, name: Annotated[str, Query(min_length=1, max_length=300)], schema: str = ""
) -> Preview:
    """What a file seems to be, from its first kilobytes: the body is its beginning, at most 64 kB."""
    content = await request.body()
    model = await run_in_threadpool(request.app.state.champions.choose, schema)
    return await run_in_threadpool(_look, content, Path(name).name, model.schema)


def _look(content: bytes, name: str, schema: FlowSchema) -> Preview:
    if content.startswith(MAGIC):
        return _array(content, schema)
    if name.lower().endswith(_WHOLE):
        return _told(f"{name} can be looked into once all of it is here.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "beginning.csv"
        path.write_bytes(content)
        if is_capture(path):
            metered = f"metered for {schema.title or schema.id}" if schema.meter_mode else "not metered for this schema"
            return _told(f"A packet capture; its flows are {metered}.", bool(schema.meter_mode))
        return _table(path, content, schema)


def _array(content: bytes, schema: FlowSchema) -> Preview:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        return _told(f"No array that can be read: {error}", False)
    if dtype.names:
        missing = [column.name for column in schema.features if column.name not in match_columns(dtype.names, schema)]
        return _verdict(f"An array of {shape[0]:,} rows with {len(dtype.names)} named fields", missing, schema)
    wide = len(schema.features)
    fits = bool(shape) and shape[-1] == wide
    return _told(f"An array of {' × '.join(f'{n:,}' for n in shape)}; {schema.id} has {wide} features.", fits)


def _table(path: Path, content: bytes, schema: FlowSchema) -> Preview:
    try:
        names = column_names(path, schema)
        found = match_columns(names, schema)
    except (InputError, SchemaError) as error:
        return _told(str(error).replace(path.name, "it"), False)
    missing = [column.name for column in schema.features if column.name not in found]
    lines = content[: content.rfind(b"\n")].decode("utf-8", "replace").splitlines()
    cells = [line[:_CELLS] for line in csv.reader(lines[: _ROWS + 1])]
    headed = bool(cells) and cells[0] == names[:_CELLS]
    told = _verdict(f"A table of {len(names)} columns", missing, schema)
    return told.model_copy(update={"columns": names[:_CELLS], "rows": cells[1:] if headed else cells[:_ROWS]})


def _verdict(what: str, missing: list[str], schema: FlowSchema) -> Preview:
    wanted = len(schema.features)
    if not missing:
        return _told(f"{what}; all {wanted} features of {schema.title or schema.id} are there.", True)
    shown = ", ".join(missing[:6]) + (", …" if len(missing) > 6 else "")
    return _told(
        f"{what}; {len(missing)} of {wanted} features of {schema.title or schema.id} are missing: {shown}.", False
    )


def _told(says: str, fits: bool | None = None) -> Preview:
    return Preview(says=says, fits=fits, columns=[], rows=[])
