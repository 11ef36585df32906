"""Addresses for machines: health, readiness, metrics, and the API's own documentation, rendered offline."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from netwarden import __version__, jobs, telemetry
from netwarden.portal.models.champions import Champions
from netwarden.portal.reference import Health, Readiness, body
from netwarden.portal.runs.runs import KIND

router = APIRouter(tags=["operate"])


@router.get("/health", summary="Alive?")
def health(request: Request) -> Health:
    """That the portal answers, and when it last cleared up."""
    return Health(version=__version__, retention=request.app.state.clearing_up.last)


@router.get(
    "/ready",
    summary="Ready to score?",
    responses={200: {"model": Readiness}, 503: {"model": Readiness, "description": "No detector serves"}},
)
def ready(request: Request) -> Response:
    """Whether a detector serves, and which; 503 without one."""
    champions: Champions = request.app.state.champions
    serving = champions.serving()
    answer = Readiness(
        status="ready" if serving.models else "no detector serves; train one or restore one",
        bundles={schema_id: model.bundle.bundle_id for schema_id, model in serving.models.items()},
        faults=dict(serving.faults),
    )
    return JSONResponse(answer.model_dump(), 200 if serving.models else 503)


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={200: body("text/plain", "In Prometheus' format", 'netwarden_jobs_running{kind="train"} 0.0')},
)
def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    champions: Champions = request.app.state.champions
    telemetry.BUNDLE_INFO.clear()
    for schema_id, model in champions.serving().models.items():
        telemetry.BUNDLE_INFO.labels(schema_id, model.bundle.bundle_id).set(1)
    running = jobs.running(request.app.state.settings.home, KIND)
    telemetry.JOBS_RUNNING.labels(KIND).set(1 if running else 0)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> Response:
    """The API, to read and to try."""
    response: Response = request.app.state.pages.render(request, "docs.html")
    return response
