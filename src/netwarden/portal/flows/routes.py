"""POST /score and /batch_score: flows in, verdicts out, for programs; JSON, Arrow and `.npy` bodies."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from netwarden.errors import InputError
from netwarden.portal.access.people import needs
from netwarden.portal.flows.scoring import FlowScoring, Sent
from netwarden.portal.reference import Rejection, faults
from netwarden.portal.rendering import prefers_json
from netwarden.scoring.arrays import MAGIC
from netwarden.scoring.intake import FlowBatch, read_array, read_table
from netwarden.scoring.model import Model
from netwarden.scoring.output import prediction
from netwarden.scoring.records import raw_table
from netwarden.scoring.singles import Judged

router = APIRouter(tags=["detect"])
ARROW = "application/vnd.apache.arrow.stream"
NPY = "application/octet-stream"
MAX_BATCH_BYTES = 64_000_000  # memory holds a body several times over
_SHOWN_REJECTIONS = 1000

Schema = Annotated[str, Query(max_length=100, description="Whose champion; needed where the columns do not tell")]
Record = Annotated[bool, Query(description="Store the alerts among the flows")]

FLOW_EXAMPLE = {
    "duration": 0,
    "protocol_type": "tcp",
    "service": "private",
    "flag": "S0",
    **dict.fromkeys(("src_bytes", "dst_bytes", "land", "wrong_fragment", "urgent", "hot", "num_failed_logins"), 0),
    **dict.fromkeys(("logged_in", "num_compromised", "root_shell", "su_attempted", "num_root"), 0),
    **dict.fromkeys(("num_file_creations", "num_shells", "num_access_files", "num_outbound_cmds"), 0),
    **dict.fromkeys(("is_host_login", "is_guest_login"), 0),
    **{"count": 240, "srv_count": 12, "serror_rate": 1, "srv_serror_rate": 1, "rerror_rate": 0, "srv_rerror_rate": 0},
    **{"same_srv_rate": 0.05, "diff_srv_rate": 0.06, "srv_diff_host_rate": 0},
    **{"dst_host_count": 255, "dst_host_srv_count": 12, "dst_host_same_srv_rate": 0.05, "dst_host_diff_srv_rate": 0.06},
    **dict.fromkeys(("dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate", "dst_host_serror_rate"), 0),
    **dict.fromkeys(("dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate"), 0),
}


class FlowVerdict(BaseModel):
    """What the detector says of one flow."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "schema_id": "nsl_kdd",
                "bundle_id": "65ed956f64122dc2",
                "verdict": "known_attack",
                "prediction": -1,
                "score": 0.9871,
                "family": "dos",
                "threshold": 0.018,
                "alert_id": "5f0c2a91d2c84d1cb1c95c7a4a9d0e11",
            }
        },
    )
    schema_id: str
    bundle_id: str
    verdict: Literal["benign", "known_attack", "novel"]
    prediction: Literal[0, -1] = Field(description="0: benign, -1: intrusion")
    score: float = Field(ge=0, le=1, description="Higher is worse; an alert from the threshold on")
    family: str | None = Field(description="Of a known attack")
    threshold: float
    alert_id: str | None = Field(description="Of the stored alert; null: it is none, or was not to be stored")


class BatchVerdict(BaseModel):
    """One flow of several."""

    model_config = ConfigDict(extra="forbid")
    row: int = Field(description="Of the request, from 0")
    verdict: Literal["benign", "known_attack", "novel"]
    prediction: Literal[0, -1]
    score: float = Field(ge=0, le=1)
    family: str | None


class BatchVerdicts(BaseModel):
    """All flows of a request, in its order; those that are no flows of the schema are told apart."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "schema_id": "nsl_kdd",
                "bundle_id": "65ed956f64122dc2",
                "threshold": 0.018,
                "rows": 1,
                "alerts": 1,
                "unknown": {},
                "verdicts": [{"row": 0, "verdict": "known_attack", "prediction": -1, "score": 0.9871, "family": "dos"}],
                "rejections": [],
            }
        },
    )
    schema_id: str
    bundle_id: str
    threshold: float
    rows: int
    alerts: int
    unknown: dict[str, int] = Field(description="Column → values that training never saw")
    verdicts: list[BatchVerdict]
    rejections: list[Rejection] = Field(description="The first thousand")


_FLOW_SCHEMA = {
    "type": "object",
    "minProperties": 1,
    "description": "Column → value, under any spelling that the schema knows; null where nothing was observed",
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_ROWS_SCHEMA = {
    "type": "object",
    "required": ["rows"],
    "additionalProperties": False,
    "properties": {
        "rows": {"type": "array", "minItems": 1, "items": _FLOW_SCHEMA},
        "schema": {"type": "string", "maxLength": 100, "description": "As the parameter of that name"},
    },
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BATCH_BODY = {
    "application/json": {"schema": _ROWS_SCHEMA, "example": {"schema": "nsl_kdd", "rows": [FLOW_EXAMPLE]}},
    ARROW: _BINARY,
    NPY: _BINARY,
}


@router.post(
    "/score",
    summary="The verdict on one flow",
    dependencies=[Depends(needs("analyst"))],
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _FLOW_SCHEMA, "example": FLOW_EXAMPLE}},
        }
    },
    responses={200: {"model": FlowVerdict, "description": "The verdict"}, **faults(403, 413, 422, 503)},
)
async def score(request: Request, schema: Schema = "", record: Record = True) -> Response:
    """Judge one flow, given by column name. Flows of many clients are scored together, each by what it says alone."""
    flow = _flow(_parsed(await request.body()))
    judged, stored = await _scoring(request).one(Sent(schema, flow), record)
    answer = {**_told(judged), "alert_id": judged.alert.alert_id if judged.alert and stored else None}
    return JSONResponse({"schema_id": judged.schema_id, "bundle_id": judged.bundle_id, **answer})


@router.post(
    "/batch_score",
    summary="The verdicts on many flows",
    dependencies=[Depends(needs("analyst"))],
    response_class=Response,
    openapi_extra={"requestBody": {"required": True, "content": _BATCH_BODY}},
    responses={
        200: {
            "model": BatchVerdicts,
            "description": "The verdicts: as Arrow where the request is Arrow (unless it prefers JSON), else as JSON",
            "content": {ARROW: _BINARY},
        },
        **faults(403, 413, 422, 503),
    },
)
async def batch_score(request: Request, schema: Schema = "", record: Record = True) -> Response:
    """Judge many flows: objects by column name, an Arrow stream, or a `.npy` array in schema feature order.

    An Arrow answer has the columns row, score, verdict, family and threshold of the flows that fit, and what was
    rejected as JSON in the metadata of its schema (`rejections`).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if kind == "application/json":
        return await run_in_threadpool(_answer_rows, _scoring(request), _parsed(body), schema, record)
    if kind not in (ARROW, NPY):
        raise InputError(f"a body of type {kind or 'none'} is not read here; send application/json, {ARROW} or {NPY}")
    as_arrow = kind == ARROW and not prefers_json(request)
    return await run_in_threadpool(_answer_table, _scoring(request), body, kind, schema, record, as_arrow)


def _answer_rows(scoring: FlowScoring, sent: Any, schema: str, record: bool) -> Response:
    rows = sent.get("rows") if isinstance(sent, dict) else sent
    if not isinstance(rows, list) or not rows:
        raise InputError('send {"rows": [{"column": value, …}, …]}, with one flow or more')
    named = sent.get("schema", "") if isinstance(sent, dict) else ""
    flows = [_flow(row) for row in rows]
    model = scoring.model_for(schema or str(named), flows[0])
    unknown: Counter[str] = Counter()
    answers = scoring.many(model, flows, record, unknown)
    verdicts = [{"row": row, **_brief(each)} for row, each in enumerate(answers) if isinstance(each, Judged)]
    rejections = [_rejection(row, str(each)) for row, each in enumerate(answers) if not isinstance(each, Judged)]
    return JSONResponse(_batch(model, verdicts, rejections, unknown))


def _answer_table(scoring: FlowScoring, body: bytes, kind: str, schema: str, record: bool, as_arrow: bool) -> Response:
    model, batch = _read_arrow(scoring, body, schema) if kind == ARROW else _read_npy(scoring, body, schema)
    unknown: Counter[str] = Counter()
    result = model.scorer.score(batch.table, path="api", unknown=unknown)
    scoring.keep_raised(model, batch.table, result, record)
    rejections = [_rejection(item.row, item.reason) for item in batch.rejected[:_SHOWN_REJECTIONS]]
    if as_arrow:
        return Response(_stream(model, batch, result, rejections), media_type=ARROW)
    columns = {"row": pa.array(batch.rows), "prediction": prediction(result)}
    columns |= {name: result.column(name) for name in ("score", "verdict", "family")}
    return JSONResponse(_batch(model, pa.table(columns).to_pylist(), rejections, unknown))


def _read_arrow(scoring: FlowScoring, body: bytes, schema: str) -> tuple[Model, FlowBatch]:
    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the body is no Arrow stream: {str(error).splitlines()[0]}") from None
    model = scoring.model_for(schema, table.column_names)
    if not table.num_rows:
        raise InputError("the Arrow stream holds no rows")
    return model, read_table(raw_table(table, model.schema), model.schema)


def _read_npy(scoring: FlowScoring, body: bytes, schema: str) -> tuple[Model, FlowBatch]:
    model = scoring.model_for(schema, ())
    if not body.startswith(MAGIC):
        raise InputError("the body is no .npy array; write it with numpy.save")
    try:
        array = np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"the .npy array is damaged: {str(error).splitlines()[0]}") from None
    return model, next(read_array(array, model.schema, model.vocabulary, batch_rows=max(array.size, 1)))


def _stream(model: Model, batch: FlowBatch, result: Any, rejections: Sequence[dict[str, Any]]) -> bytes:
    facts = {"bundle_id": model.bundle.bundle_id, "schema_id": model.schema.id, "rejections": json.dumps(rejections)}
    table = result.add_column(0, "row", pa.array(batch.rows)).replace_schema_metadata(facts)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:  # of JSON, or of its encoding
        raise InputError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InputError("the body is nested too deeply") from None


def _flow(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InputError('a flow is an object of column names and values, such as {"duration": 0, …}')
    return value


def _brief(judged: Judged) -> dict[str, Any]:
    alert = judged.score >= judged.threshold
    verdict = {"verdict": judged.verdict, "prediction": -1 if alert else 0, "score": judged.score}
    return {**verdict, "family": judged.family}


def _told(judged: Judged) -> dict[str, Any]:
    return {**_brief(judged), "threshold": judged.threshold}


def _rejection(row: int, reason: str) -> dict[str, Any]:
    return {"row": row, "line": None, "reason": reason}


def _batch(model: Model, verdicts: list[Any], rejections: list[Any], unknown: Counter[str]) -> dict[str, Any]:
    return {
        "schema_id": model.schema.id,
        "bundle_id": model.bundle.bundle_id,
        "threshold": model.bundle.threshold,
        "rows": len(verdicts),
        "alerts": sum(each["prediction"] != 0 for each in verdicts),
        "unknown": dict(unknown),
        "verdicts": verdicts,
        "rejections": rejections[:_SHOWN_REJECTIONS],
    }


def _scoring(request: Request) -> FlowScoring:
    scoring: FlowScoring = request.app.state.scoring
    return scoring
