"""Training from the portal: the form of parameters, the queue, and runs compared; pages and API."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from netwarden import jobs
from netwarden.errors import InputError, JobBusyError
from netwarden.portal.access.audit import record
from netwarden.portal.access.limits import limited
from netwarden.portal.access.people import needs, person
from netwarden.portal.paging import Next, TimeCursor, page_of
from netwarden.portal.reference import faults
from netwarden.portal.runs.links import mlflow_run, tracking_places
from netwarden.portal.runs.param_form import Parameter, changed, field_sets, parameters, read_form
from netwarden.portal.runs.queue import Waiting, drop, enqueue, waiting
from netwarden.portal.runs.results import (
    ParamChange,
    RunResults,
    before_of,
    confusions,
    figure_of,
    params_diff,
    results_of,
)
from netwarden.portal.runs.runs import KIND, Run, describe_run, start_training
from netwarden.settings import Settings

router = APIRouter()
_STARTS = [Depends(needs("admin")), Depends(limited("training"))]
_ADMIN = [Depends(needs("admin"))]


class RunEntry(BaseModel):
    """A run, and what it came to."""

    model_config = ConfigDict(extra="forbid")
    run: Run
    results: RunResults


class RunList(BaseModel):
    """Runs, newest first, and those that wait, the next one first."""

    model_config = ConfigDict(extra="forbid")
    runs: list[RunEntry]
    waiting: list[Waiting]
    cursor: Next


class Asked(BaseModel):
    """A run to start."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"changes": {"train.seed": 8}, "wait": True}}
    )
    changes: dict[str, bool | int | float | str | list[int | float | str] | None] = Field(
        {}, max_length=200, description="Parameter by path → its new value; they go into params.json"
    )
    wait: bool = Field(False, description="Where a run is under way, start after it instead of being refused")


class Started(BaseModel):
    """A run that has begun, or that waits."""

    model_config = ConfigDict(extra="forbid")
    run: Run | None = Field(description="null: it waits")
    waiting: Waiting | None


@router.get("/runs", include_in_schema=False)
def runs_page(request: Request, a: str = "", b: str = "") -> Response:
    """Runs, those that wait, and the parameters of two side by side."""
    settings: Settings = request.app.state.settings
    return _page(
        request,
        "runs.html",
        entries=_entries(settings, jobs.recent(settings.home, KIND)),
        waiting=waiting(settings),
        trackers=tracking_places(settings),
        compared=_compared(settings, a, b) if a and b else None,
    )


@router.get("/runs/new", include_in_schema=False)
def form_page(request: Request) -> Response:
    """The form of parameters."""
    settings: Settings = request.app.state.settings
    running = jobs.running(settings.home, KIND)
    return _page(
        request,
        "train.html",
        sets=field_sets(settings),
        running=describe_run(settings, running, 0) if running else None,
        waiting=waiting(settings),
    )


@router.post("/runs", include_in_schema=False, dependencies=_STARTS)
async def start_page(request: Request) -> Response:
    """Start a run with what the form changes; where one is under way, after it."""
    async with request.form(max_fields=300) as form:
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
    changes = await run_in_threadpool(read_form, request.app.state.settings, fields)
    started = await run_in_threadpool(_start, request, Asked(changes=changes, wait=True))
    return RedirectResponse(f"/runs/{started.run.id}" if started.run else "/runs", 303)


@router.post("/runs/waiting/{waiting_id}/cancel", include_in_schema=False, dependencies=_ADMIN)
def drop_page(request: Request, waiting_id: str) -> Response:
    """Take a run out of the queue."""
    drop(request.app.state.settings, waiting_id)
    record(request, "cancel", f"waiting run {waiting_id}")
    return RedirectResponse("/runs", 303)


@router.get("/api/v1/runs", tags=["train"], summary="Training runs", responses=faults(422))
def list_runs(
    request: Request,
    cursor: TimeCursor = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> RunList:
    """Runs with their figures, newest first, and what each changed against the one before; `cursor` leads on."""
    settings: Settings = request.app.state.settings
    found = [job for job in jobs.recent(settings.home, KIND) if not cursor or job.id < cursor]
    shown, older = page_of(found, limit, lambda job: job.id)
    return RunList(runs=_entries(settings, shown), waiting=waiting(settings), cursor=older)


@router.get("/api/v1/runs/parameters", tags=["train"], summary="Parameters of a run")
def list_parameters(request: Request) -> list[Parameter]:
    """Every parameter of params.json with its value, help, bounds and choices."""
    return parameters(request.app.state.settings)


@router.get("/api/v1/runs/diff", tags=["train"], summary="Parameters of two runs", responses=faults(404))
def diff(request: Request, a: str, b: str) -> list[ParamChange]:
    """Parameters that two runs had otherwise."""
    home = request.app.state.settings.home
    return params_diff(jobs.find(home, KIND, a), jobs.find(home, KIND, b))


@router.post(
    "/api/v1/runs",
    tags=["train"],
    summary="Start a run",
    status_code=202,
    dependencies=_STARTS,
    responses=faults(403, 409, 422, 429),
)
def start(request: Request, asked: Asked) -> Started:
    """Start the pipeline, with changes to params.json; where one is under way: 409, or with `wait` after that."""
    return _start(request, asked)


@router.post(
    "/api/v1/runs/waiting/{waiting_id}/cancel",
    tags=["train"],
    summary="Take a run out of the queue",
    dependencies=_ADMIN,
    responses=faults(403, 404),
)
def drop_waiting(request: Request, waiting_id: str) -> list[Waiting]:
    """What still waits."""
    drop(request.app.state.settings, waiting_id)
    record(request, "cancel", f"waiting run {waiting_id}")
    return waiting(request.app.state.settings)


@router.get("/api/v1/runs/{run_id}", tags=["train"], summary="A run and what it came to", responses=faults(404))
def run(request: Request, run_id: str) -> RunEntry:
    """Stages, log, figures, bundle, plots and changed parameters of a run."""
    settings: Settings = request.app.state.settings
    job = jobs.find(settings.home, KIND, run_id)
    return RunEntry(run=describe_run(settings, job), results=results_of(settings, job, before_of(settings, job)))


@router.get("/api/v1/runs/{run_id}/plots/{name}", tags=["train"], summary="A plot of a run", responses=faults(404))
def plot(request: Request, run_id: str, name: str) -> dict[str, Any]:
    """One of the plots that dvc.yaml declares, over the run's data, as a Plotly figure: `data` and `layout`."""
    settings: Settings = request.app.state.settings
    return figure_of(settings, jobs.find(settings.home, KIND, run_id), name)


def run_facts(request: Request, job: jobs.Job) -> dict[str, Any]:
    """What the page of a run shows besides the run itself."""
    settings: Settings = request.app.state.settings
    before = before_of(settings, job)
    results = results_of(settings, job, before)
    return {
        "results": results,
        "confusions": confusions(settings, job),
        "before": before.id if before else "",
        "run_address": mlflow_run(settings, results.mlflow_run),
        "may_change": person(request).may("admin"),
    }


def _start(request: Request, asked: Asked) -> Started:
    settings: Settings = request.app.state.settings
    changes = changed(settings, asked.changes)
    said = ", ".join(f"{name}={value}" for name, value in changes.items())
    try:
        if asked.wait and waiting(settings):
            raise JobBusyError("others wait already")
        job = start_training(settings, changes)
    except JobBusyError:
        if not asked.wait:
            raise
        entry = enqueue(settings, dict(changes), person(request).name)
        record(request, "queue training", f"waiting run {entry.id}", said)
        return Started(run=None, waiting=entry)
    record(request, "train", f"run {job.id}", said)
    return Started(run=describe_run(settings, job), waiting=None)


def _entries(settings: Settings, found: list[jobs.Job]) -> list[RunEntry]:
    return [
        RunEntry(run=describe_run(settings, job, 0), results=results_of(settings, job, before_of(settings, job)))
        for job in found
    ]


def _compared(settings: Settings, a: str, b: str) -> dict[str, Any]:
    if a == b:
        raise InputError("choose two different runs to compare")
    first, second = sorted((jobs.find(settings.home, KIND, each) for each in (a, b)), key=lambda job: job.id)
    return {
        "runs": [describe_run(settings, job, 0) for job in (first, second)],
        "results": [results_of(settings, job) for job in (first, second)],
        "changes": params_diff(first, second),
    }


def _page(request: Request, name: str, **facts: Any) -> Response:
    response: Response = request.app.state.pages.render(request, name, may_change=person(request).may("admin"), **facts)
    return response
