"""Pages for people: upload, scored files, login."""

from __future__ import annotations

import io
from typing import Annotated
from urllib.parse import urlsplit

import anyio
import numpy as np
from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from netwarden.portal.demo import SCHEMA_ID, score_demo
from netwarden.portal.reference import Predictions, body, faults
from netwarden.portal.rendering import attachment, prefers_json
from netwarden.portal.security import COOKIE, Access
from netwarden.portal.uploads import find_upload
from netwarden.portal.views import show_home, show_upload
from netwarden.scoring.codes import sample_npy
from netwarden.scoring.model import restore_bundle

router = APIRouter()
_GUESS_DELAY_S = 0.5  # what a wrong token costs whoever guesses
_SESSION_S = 12 * 3600
_CSV = '"row","verdict","prediction","score","family"\n0,"known_attack",-1,0.99,"dos"\n'


@router.get("/", include_in_schema=False)
def home(request: Request) -> Response:
    """Upload page."""
    return show_home(request)


@router.post("/try", include_in_schema=False)
def try_demo(request: Request) -> Response:
    """Score the capture that comes along."""
    model = request.app.state.champions.choose(SCHEMA_ID)
    return RedirectResponse(f"/uploads/{score_demo(request.app.state.settings, model).summary.id}", 303)


@router.get("/uploads/{upload_id}", include_in_schema=False)
def upload_page(
    request: Request,
    upload_id: str,
    page: Annotated[int, Query(ge=1)] = 1,
    show: Annotated[str, Query(pattern="^(all|alerts)$")] = "all",
) -> Response:
    """A scored file, page by page; all of it as JSON for clients that prefer it."""
    upload = find_upload(request.app.state.settings, upload_id)
    if prefers_json(request):
        return StreamingResponse(upload.json(), media_type="application/json")
    return show_upload(request, upload, page, alerts_only=show == "alerts")


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


@router.post("/restore", include_in_schema=False)
def restore(request: Request, bundle_id: Annotated[str, Form()]) -> Response:
    """Bring a bundle back from the backup."""
    restore_bundle(request.app.state.settings, bundle_id.strip())
    return RedirectResponse("/", 303)


@router.get("/login", include_in_schema=False)
async def login_page(request: Request, token: str = "", next: str = "/") -> Response:
    """Login form; an address that carries the token logs in at once."""
    return await _log_in(request, token, next) if token else _login_form(request, next)


@router.post("/login", include_in_schema=False)
async def log_in(request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
    """Log in with the token."""
    return await _log_in(request, token, next)


@router.post("/logout", include_in_schema=False)
def log_out() -> Response:
    """Forget this browser."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


async def _log_in(request: Request, token: str, target: str) -> Response:
    access: Access = request.app.state.access
    if not access.admits(token.strip()):
        await anyio.sleep(_GUESS_DELAY_S)
        return _login_form(request, target, "This is not the token.", 403)
    response = RedirectResponse(_within(target), 303)
    # Strict: a link on another site can then not act in the name of whoever is logged in here.
    response.set_cookie(
        COOKIE,
        access.session(),
        max_age=_SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _login_form(request: Request, target: str, fault: str = "", status: int = 200) -> Response:
    response: Response = request.app.state.pages.render(
        request, "login.html", status, target=_within(target), fault=fault
    )
    return response


def _within(target: str) -> str:
    """The address if it is one of ours, else the first page."""
    parts = urlsplit(target)
    ours = not parts.scheme and not parts.netloc and target.startswith("/") and "\\" not in target
    return target if ours and not target.startswith("//") else "/"
