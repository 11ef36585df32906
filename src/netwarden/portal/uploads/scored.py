"""Scored files: their history, their rows, their truth, and what another bundle makes of them; pages and API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from netwarden.portal.access.audit import record
from netwarden.portal.access.people import needs
from netwarden.portal.models.facts import registry_view
from netwarden.portal.paging import Limit, Next, PlaceCursor, TimeCursor, page_of, places
from netwarden.portal.reference import faults
from netwarden.portal.uploads.charts import others_of
from netwarden.portal.uploads.rescoring import Difference, Rescored, rescored
from netwarden.portal.uploads.rows import RowPage, RowQuery, TableQuery, find_rows, read_rows
from netwarden.portal.uploads.truth import TruthReport, matrix, truth_report
from netwarden.portal.uploads.uploads import Upload, UploadSummary, find_upload, recent_uploads
from netwarden.portal.uploads.views import numbered
from netwarden.scoring.model import Model

router = APIRouter()
_ANALYST = [Depends(needs("analyst"))]
_FILES = 50  # that a page shows
Verdict = Literal["", "benign", "known_attack", "novel"]


class UploadList(BaseModel):
    """A page of scored files, newest first."""

    model_config = ConfigDict(extra="forbid")
    uploads: list[UploadSummary]
    cursor: Next


class RowsAsked(RowQuery):
    """A filter, and where its page begins."""

    cursor: PlaceCursor = ""
    limit: int = Field(100, ge=1, le=1000)


class Other(BaseModel):
    """Which bundle."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"bundle_id": "65ed956f64122dc2"}})
    bundle_id: str = Field(min_length=1, max_length=64)


@router.get("/uploads", include_in_schema=False)
def history_page(request: Request, cursor: TimeCursor = "") -> Response:
    """Scored files, each with the bundle that scored it."""
    settings = request.app.state.settings
    view = registry_view(settings)
    return _page(
        request,
        "uploads.html",
        page=list_uploads(request, cursor, _FILES),
        cursor=cursor,
        champions=view.champions,
        kept=settings.portal.keep_uploads,
    )


@router.get("/uploads/{upload_id}/truth", include_in_schema=False)
def truth_page(request: Request, upload_id: str, asked: Annotated[TableQuery, Query()]) -> Response:
    """Truth and verdicts, and the rows that were missed."""
    upload = find_upload(request.app.state.settings, upload_id)
    report = truth_report(upload)
    query = asked.filter()
    query = query if query.show in ("missed", "mistaken") else query.model_copy(update={"show": "missed"})
    positions = find_rows(upload, query)
    page = numbered(asked.page, len(positions), request.app.state.settings.portal.page_rows)
    return _page(
        request,
        "truth.html",
        summary=upload.summary,
        report=report,
        matrix=matrix(report),
        query=query,
        page=page,
        rows=read_rows(upload, positions[page.start : page.start + page.shown]),
        all_kept=upload.has_flows,
    )


@router.post("/uploads/{upload_id}/rescore", include_in_schema=False, dependencies=_ANALYST)
def rescore_page(request: Request, upload_id: str, bundle_id: Annotated[str, Form()]) -> Response:
    """Score a file again with another bundle."""
    upload, model, _ = _again(request, upload_id, bundle_id)
    return RedirectResponse(f"/uploads/{upload.summary.id}/rescored/{model.bundle.bundle_id}", 303)


@router.get("/uploads/{upload_id}/rescored/{bundle_id}", include_in_schema=False)
def difference_page(
    request: Request,
    upload_id: str,
    bundle_id: str,
    before: Verdict = "",
    after: Verdict = "",
    page: Annotated[int, Query(ge=1)] = 1,
) -> Response:
    """What another bundle makes of a file."""
    upload, model, again = _again(request, upload_id, bundle_id, record_it=False)
    positions = again.changed(before, after)
    where = numbered(page, len(positions), request.app.state.settings.portal.page_rows)
    return _page(
        request,
        "rescored.html",
        summary=upload.summary,
        difference=again.difference(model),
        rows=again.page(positions[where.start : where.start + where.shown]),
        page=where,
        before=before,
        after=after,
        others=others_of(registry_view(request.app.state.settings), upload.summary),
    )


@router.get("/api/v1/uploads", tags=["detect"], summary="Scored files", responses=faults(422))
def list_uploads(request: Request, cursor: TimeCursor = "", limit: Limit = 50) -> UploadList:
    """Scored files, newest first, each with its counts and the bundle that scored it; `cursor` leads on."""
    found = recent_uploads(request.app.state.settings, limit + 1, cursor)
    shown, older = page_of(found, limit, lambda each: each.id)
    return UploadList(uploads=shown, cursor=older)


@router.get("/api/v1/uploads/{upload_id}", tags=["detect"], summary="A scored file", responses=faults(404))
def summary(request: Request, upload_id: str) -> UploadSummary:
    """What came of a file."""
    return find_upload(request.app.state.settings, upload_id).summary


@router.get("/api/v1/uploads/{upload_id}/rows", tags=["detect"], summary="Rows of a file", responses=faults(404, 422))
def rows(request: Request, upload_id: str, asked: Annotated[RowsAsked, Query()]) -> RowPage:
    """Rows that meet every part of a filter, in the order asked for; `cursor` leads on."""
    upload = find_upload(request.app.state.settings, upload_id)
    positions = find_rows(upload, RowQuery(**asked.model_dump(exclude={"cursor", "limit"})))
    here, following = places(asked.cursor, asked.limit, len(positions))
    return RowPage(rows=read_rows(upload, positions[here]), total=len(positions), cursor=following)


@router.get("/api/v1/uploads/{upload_id}/truth", tags=["detect"], summary="Truth of a file", responses=faults(404))
def truth(request: Request, upload_id: str) -> TruthReport:
    """Where a file says labels: confusion, and recall of each attack with its counts."""
    return truth_report(find_upload(request.app.state.settings, upload_id))


@router.post(
    "/api/v1/uploads/{upload_id}/rescore",
    tags=["detect"],
    summary="Score a file again",
    dependencies=_ANALYST,
    responses=faults(403, 404, 422, 503),
)
def rescore(request: Request, upload_id: str, other: Other) -> Difference:
    """What another bundle of the same schema makes of a file: how many rows went from which verdict to which."""
    _, model, again = _again(request, upload_id, other.bundle_id)
    return again.difference(model)


@router.get(
    "/api/v1/uploads/{upload_id}/rescored/{bundle_id}",
    tags=["detect"],
    summary="What another bundle made of a file",
    responses=faults(404, 422, 503),
)
def difference(request: Request, upload_id: str, bundle_id: str) -> Difference:
    """The same, of a bundle that was asked before."""
    _, model, again = _again(request, upload_id, bundle_id, record_it=False)
    return again.difference(model)


@router.get(
    "/api/v1/uploads/{upload_id}/rescored/{bundle_id}/rows",
    tags=["detect"],
    summary="Rows with another verdict",
    responses=faults(404, 422, 503),
)
def changed_rows(
    request: Request,
    upload_id: str,
    bundle_id: str,
    before: Verdict = "",
    after: Verdict = "",
    cursor: PlaceCursor = "",
    limit: Limit = 100,
) -> RowPage:
    """Rows to which another bundle gives another verdict or family, with both answers; `cursor` leads on."""
    again = _again(request, upload_id, bundle_id, record_it=False)[2]
    positions = again.changed(before, after)
    here, following = places(cursor, limit, len(positions))
    return RowPage(rows=again.page(positions[here]), total=len(positions), cursor=following)


def _again(
    request: Request, upload_id: str, bundle_id: str, *, record_it: bool = True
) -> tuple[Upload, Model, Rescored]:
    upload = find_upload(request.app.state.settings, upload_id)
    model: Model = request.app.state.champions.model(bundle_id)
    again = rescored(upload, model, anew=record_it)
    if record_it:
        record(request, "score again", f"upload {upload.summary.id}", f"bundle {model.bundle.bundle_id}")
    return upload, model, again


def _page(request: Request, name: str, **facts: Any) -> Response:
    response: Response = request.app.state.pages.render(request, name, **facts)
    return response
