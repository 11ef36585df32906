"""Alerts of a scored file put among the stored ones, on request."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError
from netwarden.flows.alert import Alert
from netwarden.flows.table import alert_id, content_hash
from netwarden.portal.access.audit import record
from netwarden.portal.access.people import needs
from netwarden.portal.reference import faults
from netwarden.portal.uploads.uploads import Upload, UploadSummary, find_upload

router = APIRouter()
_MOST = 100_000  # some half a minute
_PIECE = 2000
_NAMES = {"src_ip": "source", "src_port": "source_port", "dst_ip": "target", "dst_port": "target_port"}
_NAMES |= {name: name for name in ("protocol", "started_at")}
_SAID = ("score", "verdict", "family")


class Kept(BaseModel):
    """What was put among the stored alerts."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"alerts": 17, "added": 17}})
    alerts: int = Field(description="Alerts of the file")
    added: int = Field(description="Those that were not stored before: the same flow is one alert, whatever the file")


@router.post("/uploads/{upload_id}/alerts", include_in_schema=False, dependencies=[Depends(needs("analyst"))])
def keep_page(request: Request, upload_id: str) -> Response:
    """Store the alerts of a file, and show them."""
    upload = find_upload(request.app.state.settings, upload_id)
    _keep(request, upload)
    return RedirectResponse(f"/alerts?sensor={quote(upload.summary.name)}", 303)


@router.post(
    "/api/v1/uploads/{upload_id}/alerts",
    tags=["alerts"],
    summary="Store a file's alerts",
    dependencies=[Depends(needs("analyst"))],
    responses=faults(403, 404, 422),
)
def keep(request: Request, upload_id: str) -> Kept:
    """Put the alerts of a scored file among the stored ones, with its name as their sensor."""
    return _keep(request, find_upload(request.app.state.settings, upload_id))


def _keep(request: Request, upload: Upload) -> Kept:
    summary = upload.summary
    if summary.alerts > _MOST:
        raise InputError(f"{summary.name} has {summary.alerts:,} alerts; at most {_MOST:,} of a file are stored")
    labels = upload.labels()
    added, piece = 0, []
    for said, features in upload.explained_alerts():
        piece.append(_alert(summary, said, features, labels.get(said["row"])))
        if len(piece) == _PIECE:
            added += request.app.state.alerts.add(piece)
            piece = []
    added += request.app.state.alerts.add(piece)
    record(request, "store alerts", f"upload {summary.id}", f"{added} of {summary.alerts} are new")
    return Kept(alerts=summary.alerts, added=added)


def _alert(summary: UploadSummary, said: dict[str, Any], features: dict[str, Any], truth: str | None) -> Alert:
    facts = {field: said[name] for name, field in _NAMES.items() if name in said}
    flow = json.dumps([summary.schema_id, facts, features], default=str, sort_keys=True)
    flow_id = content_hash(b"upload", flow.encode()).hex()
    return Alert(
        alert_id=alert_id(flow_id),
        flow_id=flow_id,
        bundle_id=summary.bundle_id,
        schema_id=summary.schema_id,
        origin="upload",
        sensor=summary.name,
        raised_at=summary.created_at,
        threshold=summary.threshold,
        truth=truth or None,
        features={name: None if value != value else value for name, value in features.items()},  # noqa: PLR0124 - NaN
        **facts,
        **{name: said[name] for name in _SAID},
    )
