"""The portal as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from netwarden import __version__, logs
from netwarden.errors import (
    BackupError,
    BundleError,
    InputError,
    JobBusyError,
    NetwardenError,
    NotFoundError,
    NotifyError,
    SchemaError,
    StoreError,
)
from netwarden.portal import api, plotly, reference
from netwarden.portal.access import audit, login
from netwarden.portal.access.limits import Limits
from netwarden.portal.access.security import Gatekeeper, access_for
from netwarden.portal.alerts import events as alert_events
from netwarden.portal.alerts import forms as alert_forms
from netwarden.portal.alerts import notify, retention, suppressions, triage
from netwarden.portal.alerts import pages as alerts
from netwarden.portal.alerts import sums as alert_sums
from netwarden.portal.alerts.notify import Notifying
from netwarden.portal.alerts.retention import ClearingUp
from netwarden.portal.flows import routes as scoring
from netwarden.portal.flows.routes import MAX_BATCH_BYTES
from netwarden.portal.flows.scoring import FlowScoring
from netwarden.portal.middleware import AnswerHead, BodyLimit, Boundary, Measure
from netwarden.portal.models import api as models
from netwarden.portal.models import pages as model_pages
from netwarden.portal.models.champions import Champions
from netwarden.portal.rendering import Pages, problem
from netwarden.portal.runs import pages as run_pages
from netwarden.portal.runs import queue as training_queue
from netwarden.portal.runs import training
from netwarden.portal.transfer import Compress, EntityTag
from netwarden.portal.uploads import alerts as upload_alerts
from netwarden.portal.uploads import pages, predict, why
from netwarden.portal.uploads import preview as upload_preview
from netwarden.portal.uploads import progress as upload_progress
from netwarden.portal.uploads import scored as upload_pages
from netwarden.portal.watch import data, drift, live, overview
from netwarden.portal.watch.data_facts import LabelTables
from netwarden.portal.watch.drift_facts import DriftReports
from netwarden.portal.watch.roles import Roles
from netwarden.portal.watch.scored_flows import ScoredFlows
from netwarden.portal.watch.wellbeing import Tracking
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store, open_portal_store
from netwarden.triage.notify import Notifier

_log = logs.get(__name__)
_FORM_BYTES = 64 * 1024  # of any form, and what one adds around its file
# The first that fits counts; any other error of ours is a 500.
_STATUS: tuple[tuple[type[NetwardenError], int], ...] = (
    (NotFoundError, 404),
    (InputError, 422),
    (SchemaError, 422),
    (JobBusyError, 409),
    (NotifyError, 502),
    (BundleError, 503),
    (StoreError, 503),
    (BackupError, 503),
)

# In this order their routes are tried, one after another: what programs ask hundreds of times a second comes first.
_PARTS = (
    scoring,
    upload_progress,
    upload_preview,
    upload_pages,
    predict,
    pages,
    why,
    alert_events,
    alert_sums,
    alert_forms,
    alerts,
    triage,
    suppressions,
    upload_alerts,
    live,
    overview,
    data,
    drift,
    model_pages,
    models,
    run_pages,
    training_queue,
    training,
    audit,
    retention,
    notify,
    login,
    api,
    plotly,
)


def create_app(settings: Settings) -> FastAPI:
    """The portal of a deployment; it starts without a bundle and picks one up as soon as there is one."""
    app = FastAPI(
        title="Netwarden",
        version=__version__,
        summary="Network flows in, verdicts out.",
        openapi_tags=reference.TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=_until_the_end,
    )
    app.state.settings = settings
    app.state.access = access_for(settings)
    app.state.limits = Limits(settings)
    app.state.pages = Pages(settings)
    app.state.champions = Champions(settings)
    app.state.alerts = open_alert_store(settings)
    app.state.portal_store = open_portal_store(settings)
    app.state.clearing_up = ClearingUp(settings, app.state.alerts)
    app.state.notifier = Notifier(settings.notify, app.state.alerts, app.state.portal_store)
    app.state.scoring = FlowScoring(app.state.champions, app.state.alerts, settings.portal.record_scored)
    app.state.scored = ScoredFlows(settings)
    app.state.roles = Roles(settings)
    app.state.tracking = Tracking(settings)
    app.state.label_tables = LabelTables(settings)
    app.state.drift = DriftReports(settings, app.state.champions)
    for part in _PARTS:
        app.include_router(part.router)
    reference.complete(app)
    app.mount("/static", StaticFiles(directory=app.state.pages.static), name="static")
    app.mount("/docs/assets", StaticFiles(directory=Path(str(files("fastapi_swagger.resources")))), name="swagger")
    app.add_exception_handler(NetwardenError, _our_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    # The last added sees a request first.
    upload_bytes = settings.portal.max_upload_mb * 1_000_000 + _FORM_BYTES
    largest = {"/predict": upload_bytes, "/batch_score": MAX_BATCH_BYTES}
    app.add_middleware(BodyLimit, max_bytes=_FORM_BYTES, max_of=largest)
    app.add_middleware(Boundary)
    app.add_middleware(EntityTag)
    app.add_middleware(Compress)
    app.add_middleware(Gatekeeper, access=app.state.access)
    app.add_middleware(Measure)
    app.add_middleware(AnswerHead)
    app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.portal.trusted_proxies))
    return app


@asynccontextmanager
async def _until_the_end(app: FastAPI) -> AsyncIterator[None]:
    notifying = Notifying(app.state.settings, app.state.notifier)
    notifying.start()
    app.state.clearing_up.start()
    yield
    notifying.close()
    app.state.clearing_up.stop()
    app.state.scoring.close()
    app.state.alerts.close()
    app.state.portal_store.close()
    app.state.scored.close()
    app.state.roles.close()
    app.state.label_tables.close()
    app.state.drift.close()


def _our_error(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        _log.error("request failed", extra={"route": request.url.path, "error": str(error)})
    return problem(request, status, str(error))


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    path = request.url.path
    details = {404: f"there is nothing at {path}", 405: f"{request.method} is not for {path}", 413: _too_large(request)}
    detail = details.get(error.status_code, str(error.detail))
    return problem(request, error.status_code, detail, dict(error.headers or {}))


def _too_large(request: Request) -> str:
    if request.url.path == "/batch_score":
        return f"the body is larger than the {MAX_BATCH_BYTES // 10**6} MB of one batch; send several, or a file"
    if request.url.path != "/predict":
        return f"the body is larger than the {_FORM_BYTES // 1024} kB that {request.url.path} reads"
    limit_mb = request.app.state.settings.portal.max_upload_mb
    return f"the upload is larger than the {limit_mb} MB allowed here; split it, or score it with `netwarden batch`"


def _bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    fault = error.errors()[0]
    return problem(request, 422, f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}")
