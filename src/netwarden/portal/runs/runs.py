"""Training runs as pages and JSON show them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from netwarden import jobs
from netwarden.errors import JobBusyError
from netwarden.settings import Settings
from netwarden.sources.connect import open_lease
from netwarden.sources.leases import TRAINING

KIND = "train"
# The same as `netwarden train`; a process of its own, because serving never imports training.
_COMMAND = (sys.executable, "-c", "from netwarden.cli import main; main()", "train")

StepState = Literal["waiting", "running", "done", "failed"]


class Step(BaseModel):
    """One stage of the pipeline within a run."""

    model_config = ConfigDict(frozen=True)
    name: str
    state: StepState
    message: str = ""


class Run(BaseModel):
    """Where a training run stands."""

    model_config = ConfigDict(frozen=True)
    id: str
    state: jobs.JobState
    stage: str
    error: str
    fraction: float
    message: str
    started_at: datetime
    seconds: float
    steps: tuple[Step, ...]
    log: tuple[str, ...]


def start_training(settings: Settings, changes: Mapping[str, Any] | None = None) -> jobs.Job:
    """The pipeline as a job that outlives the portal; `changes`, by path, go into params.json first.

    Raises JobBusyError naming the run under way, or who trains elsewhere.
    """
    if jobs.running(settings.home, KIND) is None:
        _refuse_while_another_trains(settings)
    env = {
        "NETWARDEN_WORKSPACE": str(settings.workspace),
        "NETWARDEN_HOME": str(settings.home),
        "NETWARDEN_DATA": str(settings.datasets),
    }
    options = [f"--set={name}={json.dumps(value)}" for name, value in (changes or {}).items()]
    return jobs.start(settings.home, KIND, [*_COMMAND, *options], settings.workspace, env)


def _refuse_while_another_trains(settings: Settings) -> None:
    """A run takes the lease itself; to ask before it starts spares a client a run that fails."""
    with closing(open_lease(settings)) as lease:
        holder = lease.holder(TRAINING)
    if holder:
        raise JobBusyError(f"training is held by {holder}; wait until it ends")


def describe_run(settings: Settings, job: jobs.Job, log_lines: int = 60) -> Run:
    """What a run has done so far, stage by stage."""
    outcome = job.outcome()
    events = job.progress()
    started_at = datetime.fromisoformat(job.started_at)
    now = datetime.now(UTC).isoformat()
    # Of a run that was killed, its last word is all that is known.
    last_word = now if outcome.state == "running" else events[-1].at if events else job.started_at
    ended_at = datetime.fromisoformat(outcome.ended_at or last_word)
    said = {event.stage: event.message for event in events}
    fractions = [event.fraction for event in events if event.fraction is not None]
    return Run(
        id=job.id,
        state=outcome.state,
        stage=outcome.stage,
        error=outcome.error,
        fraction=1.0 if outcome.state == "succeeded" else max(fractions, default=0.0),
        message=events[-1].message if events else "starting",
        started_at=started_at,
        seconds=(ended_at - started_at).total_seconds(),
        steps=_steps(_stage_names(settings), said, outcome),
        log=tuple(job.log_tail(log_lines)),
    )


def failure(outcome: jobs.Outcome) -> str:
    """Why a run gave no bundle, with the stage."""
    if outcome.state == "cancelled":
        return f"Training was cancelled in stage {outcome.stage or 'start'}"
    where = f"in stage {outcome.stage}" if outcome.stage else "before its first stage"
    return f"Training failed {where}: {outcome.error}"


def _stage_names(settings: Settings) -> list[str]:
    """Stages in reading order, as dvc.yaml lists them."""
    path = settings.workspace / "dvc.yaml"
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]) if path.exists() else []


def _steps(names: list[str], said: dict[str, str], outcome: jobs.Outcome) -> tuple[Step, ...]:
    """A stage that said nothing before one that did was up to date: DVC skips it."""
    ended = outcome.state == "succeeded" or outcome.stage == "done"
    at = len(names) if ended else names.index(outcome.stage) if outcome.stage in names else -1
    stopped = outcome.state in ("failed", "cancelled")

    def state(position: int) -> StepState:
        if position < at:
            return "done"
        if position > at:
            return "waiting"
        return "failed" if stopped else "running"

    return tuple(
        Step(name=name, state=state(i), message=said.get(name, "up to date" if i < at else ""))
        for i, name in enumerate(names)
    )
