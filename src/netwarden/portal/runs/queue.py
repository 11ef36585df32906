"""Runs that wait for the one under way: kept in a folder, so that they outlive the portal that took them.

home/jobs/train-queue/ID.json   what is to change, who asked, when; the oldest starts first
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from netwarden import jobs
from netwarden.errors import InputError, JobBusyError, NetwardenError, NotFoundError
from netwarden.logs import get
from netwarden.portal.runs.runs import start_training
from netwarden.settings import Settings

_LOOK_EVERY_S = 1.0
_MOST = 20
_log = get(__name__)


class Waiting(BaseModel):
    """A run that has not begun."""

    model_config = ConfigDict(extra="forbid")
    id: str
    who: str
    asked_at: datetime
    changes: dict[str, Any] = Field(description="Parameter by path → the value it gets")


def enqueue(settings: Settings, changes: dict[str, Any], who: str) -> Waiting:
    """A run at the end of the queue. Raises InputError where that is full."""
    if len(waiting(settings)) >= _MOST:
        raise InputError(f"{_MOST} runs wait already; cancel one first")
    now = datetime.now(UTC)
    entry = Waiting(id=f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}", who=who, asked_at=now, changes=changes)
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{entry.id}"
    draft.write_text(entry.model_dump_json(), encoding="utf-8")
    draft.rename(folder / f"{entry.id}.json")
    return entry


def waiting(settings: Settings) -> list[Waiting]:
    """Runs that wait, the next one first."""
    found = []
    for path in sorted(_folder(settings).glob("*.json")):
        with suppress(FileNotFoundError):  # it has begun meanwhile
            found.append(Waiting.model_validate_json(path.read_bytes()))
    return found


def drop(settings: Settings, waiting_id: str) -> None:
    """Take a run out of the queue. Raises NotFoundError."""
    path = _folder(settings) / f"{waiting_id}.json"
    if not re.fullmatch(r"[\w-]+", waiting_id) or not path.exists():
        raise NotFoundError(f"no run {waiting_id!r} waits; it may have begun")
    path.unlink(missing_ok=True)


def start_next(settings: Settings) -> jobs.Job | None:
    """The run that was next, started; None where one is under way or none waits."""
    paths = sorted(_folder(settings).glob("*.json"))
    if not paths or jobs.running(settings.home, "train") is not None:
        return None
    claimed = paths[0].with_suffix(".started")
    try:
        paths[0].rename(claimed)  # of several portals, one succeeds
    except FileNotFoundError:
        return None
    entry = Waiting(**json.loads(claimed.read_bytes()))
    try:
        job = start_training(settings, entry.changes)
    except JobBusyError:
        claimed.rename(paths[0])
        return None
    claimed.unlink()
    return job


@asynccontextmanager
async def _start_in_turn(app: FastAPI) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_look, app.state.settings)
        yield
        tasks.cancel_scope.cancel()


async def _look(settings: Settings) -> None:
    while True:
        try:
            if job := await run_in_threadpool(start_next, settings):
                _log.info("a run that waited has begun", extra={"run": job.id})
        except (NetwardenError, OSError) as error:
            _log.warning("the next run cannot begin", extra={"error": str(error)})
        await anyio.sleep(_LOOK_EVERY_S)


def _folder(settings: Settings) -> Path:
    return settings.home / "jobs" / "train-queue"


router = APIRouter(lifespan=_start_in_turn)
