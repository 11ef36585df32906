"""POST /predict: a file or rows of JSON in, verdicts out, as a page or as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netwarden.errors import InputError
from netwarden.flows.schema import FlowSchema
from netwarden.portal.access.audit import record
from netwarden.portal.access.limits import limited
from netwarden.portal.access.people import needs
from netwarden.portal.flows.scoring import FlowScoring
from netwarden.portal.models.champions import Champions
from netwarden.portal.reference import Predictions, faults
from netwarden.portal.rendering import prefers_json
from netwarden.portal.uploads.progress import TICKET
from netwarden.portal.uploads.receiving import Form, receive_form
from netwarden.portal.uploads.scoring import KINDS, incoming, rejections, score_batch, score_upload
from netwarden.portal.uploads.views import show_upload
from netwarden.scoring.intake import read_table
from netwarden.scoring.python_meter import in_seconds
from netwarden.scoring.records import raw_table

router = APIRouter()
_MAX_JSON_BYTES = 32_000_000


class Rows(BaseModel):
    """JSON body of a prediction: rows as objects by column name, or as arrays in schema feature order.

    One flow may also be the body itself, as the Python tool `cicflowmeter -u` posts it.
    """

    model_config = ConfigDict(extra="forbid")
    rows: list[dict[str, Any]] | list[list[Any]] = Field(min_length=1)
    schema_id: str = Field("", alias="schema", description="Needed where several detectors serve")


@dataclass(frozen=True)
class Sent:
    """What a client sent to be scored: a file or rows."""

    schema_id: str
    file: Path | None = None
    file_name: str = ""
    rows: list[dict[str, Any]] | list[list[Any]] | None = None


async def read_request(request: Request) -> AsyncIterator[Sent]:
    """The file or the rows of a request, until it is answered. Raises InputError where it holds neither."""
    kind = request.headers.get("content-type", "").lower()
    if kind.startswith("application/json"):
        yield _read_rows(await _read_body(request), request.query_params.get("schema", ""))
        return
    with incoming(request.app.state.settings) as path:
        form = await receive_form(request, path) if kind.startswith("multipart/form-data") else Form()
        if not form.file_name:
            raise InputError(f"no file was sent; put a {', '.join(KINDS)} file in the form field `file`")
        yield Sent(form.fields.get("schema", ""), file=path, file_name=form.file_name)


async def _read_body(request: Request) -> bytes:
    """The body of a JSON request, which memory must hold several times over."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MAX_JSON_BYTES:
            raise InputError(f"rows of more than {_MAX_JSON_BYTES // 10**6} MB are sent as a file, not as JSON")
    return bytes(body)


def _read_rows(content: bytes, schema_id: str) -> Sent:
    try:
        value = json.loads(content)
        body = Rows.model_validate({"rows": [value]} if _is_flow(value) else value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        # Without the names of the kinds of rows that were tried.
        where = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("list[")) or "the body"
        raise InputError(
            f'{where}: {fault["msg"]}; send {{"rows": [{{"column": value, …}}, …]}} or arrays of features'
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}") from None
    return Sent(body.schema_id or schema_id, rows=body.rows)


def _is_flow(value: Any) -> bool:
    """Whether an object is a flow itself rather than a list of them."""
    return isinstance(value, dict) and bool(value) and not {"rows", "schema"} & set(value)


_EXAMPLE = {
    "schema": "nsl_kdd",
    "rows": [[0, "tcp", "private", "S0", *[0] * 18, 240, 12, 1, 1, 0, 0, 0.05, 0.06, 0, 255, 12, 0.05, 0.06, *[0] * 6]],
}
_OPENAPI = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": ", ".join(KINDS)},
                        "schema": {"type": "string", "description": "Needed where several detectors serve"},
                    },
                }
            },
            "application/json": {"schema": Rows.model_json_schema(), "example": _EXAMPLE},
        },
    }
}


@router.post(
    "/predict",
    tags=["detect"],
    summary="Verdicts of flows",
    dependencies=[Depends(needs("analyst")), Depends(limited("upload"))],
    response_class=Response,
    openapi_extra=_OPENAPI,
    responses={
        200: {
            "model": Predictions,
            "description": "A verdict for every flow: JSON where the request is JSON or accepts it, else a page",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **faults(403, 413, 422, 429, 503),
    },
)
def predict(
    request: Request,
    sent: Annotated[Sent, Depends(read_request)],
    ticket: Annotated[str, Query(pattern=f"^$|{TICKET}", description="Made up by a client that follows a file")] = "",
) -> Response:
    """Verdict, 0 / −1, score and family of every flow; a page, or JSON for clients that prefer it or send it."""
    champions: Champions = request.app.state.champions
    if sent.rows is not None:
        return JSONResponse(score_rows(request.app.state.scoring, sent.schema_id, sent.rows))
    model = champions.choose(sent.schema_id)
    assert sent.file is not None  # noqa: S101 - read_request returns one or the other
    with request.app.state.under_way.follow(ticket) as scoring:
        upload = score_upload(request.app.state.settings, model, sent.file, sent.file_name, scoring)
    record(request, "upload", f"upload {upload.summary.id}", f"{upload.summary.name}, {upload.summary.rows} flows")
    if prefers_json(request):
        return StreamingResponse(upload.json(), media_type="application/json")
    response = show_upload(request, upload)
    response.headers["Content-Location"] = f"/uploads/{upload.summary.id}"
    return response


def score_rows(scoring: FlowScoring, schema_id: str, rows: list[dict[str, Any]] | list[list[Any]]) -> dict[str, Any]:
    """The JSON answer for rows of a request body, in the order they came in; alerts among them are stored."""
    model = scoring.model_for(schema_id, tuple(rows[0]) if isinstance(rows[0], dict) else ())
    batch = read_table(_table(model.schema, rows), model.schema)
    unknown: Counter[str] = Counter()
    table = score_batch(model, batch, unknown, way="api")
    thresholds = pa.array([model.bundle.threshold] * len(table), pa.float64())
    said = table.select(["score", "verdict", "family"]).append_column("threshold", thresholds)
    scoring.keep_raised(model, batch.table, said)
    return {
        "schema_id": model.schema.id,
        "bundle_id": model.bundle.bundle_id,
        "threshold": model.bundle.threshold,
        "rows": len(table),
        "rejected": len(batch.rejected),
        "unknown": dict(unknown),
        "predictions": [_plain(row) for row in table.to_pylist()],
        "rejections": rejections(batch.rejected),
    }


def _table(schema: FlowSchema, rows: Sequence[Any]) -> Any:
    if isinstance(rows[0], Mapping):
        return raw_table([in_seconds(row, schema) for row in rows], schema)
    names = [column.name for column in schema.features]
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise InputError(
                f"row {number} has {len(row)} values; schema {schema.id} has {len(names)} features, "
                f"{names[0]} to {names[-1]}"
            )
    try:
        return raw_table([dict(zip(names, row, strict=True)) for row in rows], schema)
    except pa.ArrowException as error:
        raise InputError(f"the rows mix kinds of values: {str(error).splitlines()[0]}") from None


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in row.items()}
