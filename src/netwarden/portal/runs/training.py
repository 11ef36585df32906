"""GET /train and the runs it starts: followed live in a browser, waited for or polled by everybody else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from netwarden import jobs
from netwarden.errors import JobBusyError, JobError
from netwarden.portal.access.audit import record
from netwarden.portal.access.limits import limited
from netwarden.portal.access.people import needs
from netwarden.portal.reference import Cancelled, body, faults
from netwarden.portal.rendering import accepts_html, event, prefers_json, problem
from netwarden.portal.runs.runs import KIND, Run, describe_run, failure, start_training
from netwarden.portal.uploads.views import show_run
from netwarden.settings import Settings

SUCCESS = "Training is successful"

router = APIRouter(tags=["train"])
_ACCEPTED = {"Preference-Applied": "respond-async"}
_POLL_S = 0.25
_BEAT_S = 15.0  # proxies give up on a silent connection after 30 to 60 seconds


@router.get(
    "/train",
    summary="Run the training pipeline",
    dependencies=[Depends(needs("admin")), Depends(limited("training"))],
    response_class=Response,
    responses={
        200: body("text/plain", "It has run; JSON clients get the sentence as JSON", SUCCESS),
        202: {"model": Run, "description": "It runs; `Location` is its address (with `Prefer: respond-async`)"},
        303: {"description": "To the page that follows it, for browsers"},
        **faults(403, 409, 429, 500),
    },
)
async def train(request: Request) -> Response:
    """Run the pipeline. A browser follows it on a page; any other client waits for `Training is successful`.

    With `Prefer: respond-async` the answer is 202 and the address of the run. A run that fails is a 500 that names
    its stage; docs/decisions/0009 says what happens when it outlasts the silence that a proxy bears.
    """
    settings: Settings = request.app.state.settings
    try:
        job = await run_in_threadpool(start_training, settings)
    except JobBusyError as error:
        busy = await run_in_threadpool(jobs.running, settings.home, KIND)
        more: dict[str, Any] = {"run": busy.id, "instance": _address(busy)} if busy else {}
        return problem(request, 409, str(error), **more)
    await run_in_threadpool(record, request, "train", f"run {job.id}")
    if accepts_html(request):
        return RedirectResponse(_address(job), 303)
    preferences = request.headers.get("prefer", "")
    if "respond-async" in preferences:
        run = await run_in_threadpool(describe_run, settings, job)
        return JSONResponse(run.model_dump(mode="json"), 202, _ACCEPTED | {"Location": _address(job)})
    return await _wait(request, job, _asked_wait(preferences) or settings.portal.train_silence_s)


@router.get(
    "/runs/{run_id}",
    summary="Where a run stands",
    response_class=Response,
    responses={200: {"model": Run, "description": "The run, stage by stage"}, **faults(404)},
)
def run_page(request: Request, run_id: str) -> Response:
    """Where a run stands; a page that follows it for browsers."""
    settings: Settings = request.app.state.settings
    job = jobs.find(settings.home, KIND, run_id)
    if accepts_html(request) and not prefers_json(request):
        return show_run(request, job)
    return JSONResponse(describe_run(settings, job).model_dump(mode="json"))


@router.get(
    "/runs/{run_id}/events",
    summary="A run as it goes on",
    response_class=Response,
    responses={200: body("text/event-stream", "The run at every change, until it ends"), **faults(404)},
)
def run_events(request: Request, run_id: str) -> Response:
    """The run at every change, as server-sent events, until it ends."""
    settings: Settings = request.app.state.settings
    job = jobs.find(settings.home, KIND, run_id)
    headers = {"X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_events(settings, job), headers=headers, media_type="text/event-stream")


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel a run",
    dependencies=[Depends(needs("admin"))],
    status_code=202,
    response_class=Response,
    responses={202: {"model": Cancelled, "description": "Asked to end"}, **faults(403, 404)},
)
def cancel_run(request: Request, run_id: str) -> Response:
    """Ask a run to end."""
    job = jobs.find(request.app.state.settings.home, KIND, run_id)
    job.cancel()
    record(request, "cancel", f"run {job.id}")
    if accepts_html(request):
        return RedirectResponse(_address(job), 303)
    return JSONResponse(Cancelled(id=job.id, state=job.state).model_dump(), 202, {"Location": _address(job)})


async def _wait(request: Request, job: jobs.Job, silence_s: float) -> Response:
    """The end of a run with its true status; beyond `silence_s`, a 200 that is kept alive and broken off on failure."""
    outcome = await _outcome(job, silence_s)
    kind = "application/json" if prefers_json(request) else "text/plain; charset=utf-8"
    headers = {"Link": f'<{_address(job)}>; rel="monitor"'}
    if outcome.state == "running":
        return StreamingResponse(_keep_alive(job, kind), headers=headers, media_type=kind)
    if outcome.state != "succeeded":
        return problem(request, 500, failure(outcome), headers, stage=outcome.stage, run=job.id)
    return Response(_success(kind), headers=headers, media_type=kind)


async def _keep_alive(job: jobs.Job, kind: str) -> AsyncIterator[str]:
    """Blank lines until the run ends, then the message; the connection breaks off where it failed."""
    while (outcome := await _outcome(job, _BEAT_S)).state == "running":
        yield "\n"
    if outcome.state != "succeeded":
        yield failure(outcome) + "\n"
        # No last chunk: HTTP clients report a broken transfer, so that nobody takes this for success.
        raise JobError(failure(outcome))
    yield _success(kind)


async def _outcome(job: jobs.Job, timeout_s: float) -> jobs.Outcome:
    with anyio.move_on_after(timeout_s):
        while (outcome := await run_in_threadpool(job.outcome)).state == "running":
            await anyio.sleep(_POLL_S)
        return outcome
    return await run_in_threadpool(job.outcome)


async def _events(settings: Settings, job: jobs.Job) -> AsyncIterator[bytes]:
    """The run whenever it has changed; a comment now and then so that proxies keep the connection."""
    sent, silent_s = "", 0.0
    while True:
        run = await run_in_threadpool(describe_run, settings, job)
        now = run.model_copy(update={"seconds": 0.0}).model_dump_json()
        if now != sent:
            yield event(run.model_dump(mode="json"))
            sent, silent_s = now, 0.0
        elif silent_s >= _BEAT_S:
            yield b": still running\n\n"
            silent_s = 0.0
        if run.state != "running":
            return
        await anyio.sleep(_POLL_S)
        silent_s += _POLL_S


def _success(kind: str) -> str:
    return f'"{SUCCESS}"' if kind == "application/json" else SUCCESS


def _asked_wait(preferences: str) -> float:
    """Seconds of `Prefer: wait=…` (RFC 7240), 0 where not asked."""
    found = re.search(r"\bwait=(\d{1,6})\b", preferences)
    return float(found.group(1)) if found else 0.0


def _address(job: jobs.Job) -> str:
    return f"/runs/{job.id}"
