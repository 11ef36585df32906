"""Pages for people: upload and scored files."""

from __future__ import annotations

import io
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from netwarden.portal.access.audit import record
from netwarden.portal.access.limits import limited
from netwarden.portal.access.people import needs
from netwarden.portal.reference import Predictions, body, faults
from netwarden.portal.rendering import attachment, prefers_json
from netwarden.portal.uploads.demo import SCHEMA_ID, score_demo
from netwarden.portal.uploads.rows import TableQuery
from netwarden.portal.uploads.uploads import find_upload
from netwarden.portal.uploads.views import show_home, show_upload
from netwarden.scoring.codes import sample_npy
from netwarden.scoring.model import restore_bundle

router = APIRouter()
_CSV = '"row","verdict","prediction","score","family"\n0,"known_attack",-1,0.99,"dos"\n'


@router.get("/", include_in_schema=False)
def home(request: Request) -> Response:
    """Upload page."""
    return show_home(request)


@router.post("/try", include_in_schema=False, dependencies=[Depends(needs("analyst")), Depends(limited("upload"))])
def try_demo(request: Request) -> Response:
    """Score the capture that comes along."""
    model = request.app.state.champions.choose(SCHEMA_ID)
    summary = score_demo(request.app.state.settings, model).summary
    record(request, "upload", f"upload {summary.id}", "the capture that comes along")
    return RedirectResponse(f"/uploads/{summary.id}", 303)


@router.get("/uploads/{upload_id}", include_in_schema=False)
def upload_page(
    request: Request,
    upload_id: str,
    asked: Annotated[TableQuery, Query()],
) -> Response:
    """A scored file, page by page; all of it as JSON for clients that prefer it."""
    upload = find_upload(request.app.state.settings, upload_id)
    if prefers_json(request):
        return StreamingResponse(upload.json(), media_type="application/json")
    return show_upload(request, upload, asked)


@router.get(
    "/uploads/{upload_id}/scores.csv",
    tags=["detect"],
    summary="Scores of a file as CSV",
    response_class=Response,
    responses={200: body("text/csv", "All scored rows", _CSV), **faults(404)},
)
def upload_csv(request: Request, upload_id: str) -> Response:
    """All scored rows as CSV."""
    upload = find_upload(request.app.state.settings, upload_id)
    return StreamingResponse(
        upload.csv(), headers=attachment(f"{upload.summary.name}.scores.csv"), media_type="text/csv"
    )


@router.get(
    "/uploads/{upload_id}/scores.json",
    tags=["detect"],
    summary="Scores of a file as JSON",
    response_class=Response,
    responses={200: {"model": Predictions, "description": "All scored rows"}, **faults(404)},
)
def upload_json(request: Request, upload_id: str) -> Response:
    """Summary, scored rows and rejected rows as JSON."""
    upload = find_upload(request.app.state.settings, upload_id)
    headers = attachment(f"{upload.summary.name}.scores.json")
    return StreamingResponse(upload.json(), headers=headers, media_type="application/json")


@router.get(
    "/schemas/{schema_id}/sample.npy",
    tags=["detect"],
    summary="A sample to upload",
    response_class=Response,
    responses={200: body("application/octet-stream", "An array of a few made-up flows"), **faults(422, 503)},
)
def sample(request: Request, schema_id: str) -> Response:
    """Made-up flows as the `.npy` upload that the champion of a schema reads."""
    model = request.app.state.champions.choose(schema_id)
    content = io.BytesIO()
    np.save(content, sample_npy(model.schema, model.vocabulary), allow_pickle=False)
    return Response(
        content.getvalue(), headers=attachment(f"{schema_id}-sample.npy"), media_type="application/octet-stream"
    )


@router.get(
    "/api/v1/schemas/{schema_id}/codes",
    tags=["detect"],
    summary="Codes of categories",
    responses={
        200: {"content": {"application/json": {"example": {"protocol_type": {"icmp": 0, "tcp": 1, "udp": 2}}}}},
        **faults(422, 503),
    },
)
def codes(request: Request, schema_id: str) -> dict[str, dict[str, int]]:
    """Column → category → the number that stands for it in a plain `.npy` array, as a schema's champion reads it."""
    found: dict[str, dict[str, int]] = request.app.state.champions.choose(schema_id).category_codes()
    return found


@router.post("/restore", include_in_schema=False, dependencies=[Depends(needs("admin"))])
def restore(request: Request, bundle_id: Annotated[str, Form()]) -> Response:
    """Bring a bundle back from the backup."""
    restore_bundle(request.app.state.settings, bundle_id.strip())
    record(request, "restore", f"bundle {bundle_id.strip()}")
    return RedirectResponse("/", 303)
