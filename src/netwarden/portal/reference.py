"""What the API's reference at /docs says of answers: their shapes, an example each, and the errors of each route."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from netwarden.portal.examples import example_of, with_nulls

PROBLEM = "application/problem+json"
TAGS = [
    {"name": "detect", "description": "Flows in, verdicts out."},
    {"name": "alerts", "description": "Stored alerts, and what was decided on them."},
    {"name": "models", "description": "Which bundle serves, how good each is, and what changes that."},
    {"name": "train", "description": "Run the training pipeline and follow it."},
    {"name": "operate", "description": "For probes and monitoring."},
]
_FAULTS = {
    401: "Log in, or send a token",
    403: "The request comes from another site, or your role may not do this",
    404: "There is no such thing",
    409: "Another run is under way; `instance` is its address",
    413: "The body is too large",
    422: "Not readable; `detail` says why in one sentence",
    429: "Too many requests of this kind; `Retry-After` says how long to wait",
    500: "The run failed; `stage` and `detail` say where and why",
    502: "The other side does not take it; `detail` says why",
    503: "No detector serves, or the store is away",
}


_OPEN_PATHS = ("/health", "/ready")


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Every error, as RFC 9457 has it; some carry further facts."""

    model_config = ConfigDict(extra="allow")
    type: Literal["about:blank"]
    title: str
    status: int
    detail: str = Field(description="What is wrong, where, and the likely cause")


class Prediction(BaseModel):
    """One flow, judged; with its endpoints where the schema knows them."""

    model_config = ConfigDict(extra="allow")
    row: int = Field(description="Row of the input, from 0")
    verdict: Literal["benign", "known_attack", "novel"]
    prediction: Literal[0, -1] = Field(description="0: benign, -1: intrusion")
    score: float = Field(ge=0, le=1, description="Higher is worse; an alert from the threshold on")
    family: str | None = Field(description="Of a known attack")


class Rejection(_Answer):
    """One row that is no flow of the schema."""

    row: int
    line: int | None
    reason: str


class Predictions(_Answer):
    """All flows of a request, in its order."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "schema_id": "nsl_kdd",
                "bundle_id": "65ed956f64122dc2",
                "threshold": 0.018,
                "rows": 1,
                "rejected": 0,
                "unknown": {},
                "predictions": [{"row": 0, "verdict": "benign", "prediction": 0, "score": 0.0001, "family": None}],
                "rejections": [],
            }
        }
    )
    schema_id: str
    bundle_id: str
    threshold: float
    rows: int
    rejected: int
    unknown: dict[str, int] = Field(description="Column → values that training never saw")
    predictions: list[Prediction]
    rejections: list[Rejection] = Field(description="The first thousand")
    id: str = Field("", description="Of a file: its address is /uploads/ID")
    name: str = Field("", description="Of a file")
    size_bytes: int = Field(0, description="Of a file")
    verdicts: dict[str, int] = Field({}, description="Of a file: verdict → rows")
    families: dict[str, int] = Field({}, description="Of a file: family → rows")
    notes: list[str] = Field([], description="Of a file: what to know of how it was read")
    seconds: float = Field(0, description="Of a file: how long it took")
    scores: dict[str, list[int]] = Field({}, description="Of a file: verdict → rows in each twentieth of the score")
    labelled: int = Field(0, description="Of a file: rows of which the truth is known")
    created_at: datetime | None = Field(None, description="Of a file")


class FeatureReason(_Answer):
    """One feature's part in one kind of evidence."""

    feature: str
    meaning: str = Field(description="Of the feature, as the schema says it")
    value: int | float | str | None
    unit: str
    shown: str = Field(description="The value in words")
    usual: str = Field(description="What is usual among benign flows; empty: the bundle does not know")
    share: float = Field(description="On the evidence's scale; above 0 it speaks for an attack")
    portion: float = Field(ge=0, le=1, description="Of all that moves this evidence, either way")
    text: str = Field(description="All of it as one sentence")


class EvidenceReasons(_Answer):
    """One kind of evidence; `base` and the shares of all features add up to `total`."""

    part: Literal["supervised", "novelty"] = Field(description="Like known attacks, or unlike benign flows")
    total: float
    base: float
    reasons: list[FeatureReason] = Field(description="The strongest first")


class Why(_Answer):
    """Why a flow was flagged, or not."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "upload_id": "20261121-101500-000000-5f0c2a91",
                "row": 17,
                "bundle_id": "65ed956f64122dc2",
                "score": 0.9871,
                "threshold": 0.018,
                "verdict": "known_attack",
                "family": "dos",
                "short": "Flagged mostly because count is 240 and serror_rate is 1.",
                "evidence": [
                    {
                        "part": "supervised",
                        "total": 6.2,
                        "base": -0.4,
                        "reasons": [
                            {
                                "feature": "count",
                                "meaning": "Connections to the same host in the past two seconds",
                                "value": 240,
                                "unit": "",
                                "shown": "240",
                                "usual": "95 % of benign flows ≤ 87",
                                "share": 2.1,
                                "portion": 0.24,
                                "text": "count is 240; 95 % of benign flows ≤ 87: speaks for an attack",
                            }
                        ],
                    }
                ],
            }
        }
    )
    upload_id: str
    row: int
    bundle_id: str
    score: float
    threshold: float
    verdict: Literal["benign", "known_attack", "novel"]
    family: str | None
    short: str = Field(description="The features that decided most, in one sentence")
    evidence: list[EvidenceReasons]


class Retention(_Answer):
    """What was cleared up last, since it was kept for as long as the settings say."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"at": "2026-11-21T10:15:00Z", "removed": {"false_positive": 412}, "fault": ""}}
    )
    at: datetime | None = Field(description="null: not yet, since the portal's start")
    removed: dict[str, int] = Field(description="Kind → how many")
    fault: str = Field(description="Why it failed; empty: it did not")


class Health(_Answer):
    """That the portal answers, and when it last cleared up."""

    status: Literal["ok"] = "ok"
    version: str
    retention: Retention


class Readiness(_Answer):
    """What serves."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"status": "ready", "bundles": {"nsl_kdd": "65ed956f64122dc2"}, "faults": {}}}
    )
    status: str
    bundles: dict[str, str] = Field(description="Schema → bundle in charge")
    faults: dict[str, str] = Field(description="Schema → why its champion cannot serve")


class Cancelled(_Answer):
    """Where a run stands that was asked to end."""

    id: str
    state: Literal["running", "succeeded", "failed", "cancelled"]


def body(kind: str, description: str, example: Any = None) -> dict[str, Any]:
    """An answer that is no JSON of a model."""
    schema: dict[str, Any] = {"type": "string"} | ({"format": "binary"} if kind == "application/octet-stream" else {})
    return {
        "description": description,
        "content": {kind: {"schema": schema} | ({"example": example} if example else {})},
    }


def faults(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route."""
    return {status: _fault(status) for status in statuses}


def _fault(status: int) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    example = {"type": "about:blank", "title": phrase, "status": status, "detail": _FAULTS[status].split(";")[0]}
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}}
    return {"description": _FAULTS[status], "content": content}


def _give_examples(operation: dict[str, Any], parts: dict[str, Any]) -> None:
    """An example for each body of JSON, where neither the route nor the shape has one."""
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        content = part.get("content", {}).get("application/json")
        if content is not None:
            example = content.get("example") or example_of(content["schema"], parts)
            content["example"] = with_nulls(example, content["schema"], parts)


def complete(app: FastAPI) -> None:
    """Let an application's reference name what its routes do not: the one shape of errors, and the token."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        document = generate()
        parts = document["components"]["schemas"]
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            # The framework states its own error for any parameter; ours is stated where it can happen.
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
        for path, operations in document["paths"].items():
            for operation in operations.values() if path not in _OPEN_PATHS else ():
                operation["responses"]["401"] = _fault(401)
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        parts["Problem"] = Problem.model_json_schema()
        for path in document["paths"].values():
            for operation in path.values():
                _give_examples(operation, parts)
        token = {
            "type": "http",
            "scheme": "bearer",
            "description": "A person's token or NETWARDEN_TOKEN; not needed on loopback without accounts",
        }
        document["components"]["securitySchemes"] = {"token": token}
        document["security"] = [{}, {"token": []}]
        return document

    app.openapi = openapi  # type: ignore[method-assign] # the framework's documented way
