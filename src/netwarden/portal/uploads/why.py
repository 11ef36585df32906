"""Why a flow of a scored file was flagged, or not: a page, and the same for programs; worked out when one looks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from netwarden.portal.reference import Why, faults
from netwarden.portal.uploads.evidence import by_feature, in_short, view_of, weighed
from netwarden.portal.uploads.uploads import find_upload

router = APIRouter()


@router.get("/uploads/{upload_id}/rows/{row}", include_in_schema=False)
def why_page(request: Request, upload_id: str, row: int) -> Response:
    """Why a row was flagged, or not."""
    upload = find_upload(request.app.state.settings, upload_id)
    found, model = upload.row(row), request.app.state.champions.model(upload.summary.bundle_id)
    evidence = weighed(model, found.flow, len(model.bundle.preprocessor.names))
    response: Response = request.app.state.pages.render(
        request,
        "why.html",
        summary=upload.summary,
        found=found,
        short=in_short(evidence, found.said["verdict"]),
        evidence=[view_of(each, found.said["verdict"]) for each in evidence],
        features=by_feature(evidence, model.bundle.preprocessor.names),
        truth=upload.labels().get(row, "") if upload.has_truth else None,
    )
    return response


@router.get(
    "/api/v1/uploads/{upload_id}/rows/{row}/why",
    tags=["detect"],
    summary="Why a flow of a file was flagged or not",
    responses=faults(404, 503),
)
def why(
    request: Request,
    upload_id: str,
    row: int,
    top: Annotated[int, Query(ge=1, le=1000, description="Features to name of each kind of evidence")] = 5,
) -> Why:
    """Each kind of evidence with the features that moved it most, by the bundle that scored the file.

    Rows without an alert are explained for as long as their features are kept (`portal.keep_flows_mb`).
    """
    upload = find_upload(request.app.state.settings, upload_id)
    found, model = upload.row(row), request.app.state.champions.model(upload.summary.bundle_id)
    evidence = weighed(model, found.flow, len(model.bundle.preprocessor.names))
    said = {name: found.said[name] for name in ("row", "score", "verdict", "family")}
    return Why(
        upload_id=upload.summary.id,
        bundle_id=upload.summary.bundle_id,
        threshold=upload.summary.threshold,
        short=in_short(evidence, found.said["verdict"]),
        evidence=[each.model_copy(update={"reasons": each.reasons[:top]}) for each in evidence],
        **said,
    )
