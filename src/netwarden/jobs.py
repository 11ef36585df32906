"""Long runs in a process of their own: start one per kind, follow it, cancel it, also after the starter has died.

    home/jobs/KIND/lock             held (flock) by the run itself; names the run under way
    home/jobs/KIND/ID/job.json      what was started
    home/jobs/KIND/ID/progress.jsonl, output.log, group, cancel
    home/jobs/KIND/ID/result.json   how it ended; written once

A supervisor (`python -m netwarden.jobs FOLDER LOCK_FD`) inherits the lock from whoever starts the run and hands it on
to the command, so the lock is free exactly when nothing of the run is left. No result and no lock: it was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from netwarden.errors import JobBusyError, JobError, NotFoundError

JobState = Literal["running", "succeeded", "failed", "cancelled"]
PROGRESS_VARIABLE = "NETWARDEN_JOB_PROGRESS"

_POLL_S = 0.1
_GRACE_S = 10.0  # between asking a cancelled command to end and killing it
_KEPT = 20  # runs of a kind that stay readable


@dataclass(frozen=True)
class Progress:
    """One report of a run: which stage, what it does, how much of the whole run is done (None: unknown)."""

    at: str
    stage: str
    message: str
    fraction: float | None = None
    failed: bool = False


@dataclass(frozen=True)
class Outcome:
    """Where a run stands. `exit_code` and `ended_at` are None while it runs or where it was killed."""

    state: JobState
    stage: str = ""
    error: str = ""
    exit_code: int | None = None
    ended_at: str | None = None


@dataclass(frozen=True)
class Job:
    """A run, read afresh from its folder at every call."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def kind(self) -> str:
        return self.folder.parent.name

    @property
    def started_at(self) -> str:
        return str(_read_json(self.folder / "job.json")["started_at"])

    @property
    def state(self) -> JobState:
        return self.outcome().state

    def outcome(self) -> Outcome:
        """State, the last stage it reported, and the error of a failed run."""
        if _holder(self.folder.parent) == self.id:
            return Outcome("running", stage=self._last_stage())
        # The lock is given back after the result is written, so what is not there by now never will be.
        found = self._result() or {"state": "failed", "error": "ended without a result: it was killed"}
        stage = self._last_stage()
        error = str(found.get("error", ""))
        if found["state"] == "failed":
            error = self._reported_error() or error
        return Outcome(found["state"], stage, error, found.get("exit_code"), found.get("ended_at"))

    def progress(self) -> list[Progress]:
        """All reports so far, oldest first."""
        lines = _read_text(self.folder / "progress.jsonl").splitlines(keepends=True)
        # A line without its end is still being written.
        return [Progress(**json.loads(line)) for line in lines if line.endswith("\n")]

    def log_tail(self, lines: int = 50) -> list[str]:
        """Last lines that the command printed."""
        with contextlib.suppress(FileNotFoundError), (self.folder / "output.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - lines * 400))
            return log.read().decode("utf-8", "replace").splitlines()[-lines:]
        return []

    def wait(self, timeout_s: float | None = None) -> Outcome:
        """How the run ended, or that it still runs after `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (outcome := self.outcome()).state == "running":
            if deadline is not None and time.monotonic() >= deadline:
                break
            time.sleep(_POLL_S)
        return outcome

    def cancel(self) -> None:
        """Ask the run and everything it started to end; `wait` tells when it has. Nothing happens to an ended run."""
        if self.state != "running":
            return
        (self.folder / "cancel").touch()
        # The supervisor signals too; this reaches a command whose supervisor was killed.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.killpg(int((self.folder / "group").read_text()), signal.SIGTERM)

    def _result(self) -> dict[str, Any] | None:
        try:
            return _read_json(self.folder / "result.json")
        except FileNotFoundError:
            return None

    def _last_stage(self) -> str:
        return next((event.stage for event in reversed(self.progress()) if event.stage), "")

    def _reported_error(self) -> str:
        return next((event.message for event in reversed(self.progress()) if event.failed), "")


def start(home: Path, kind: str, command: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Job:
    """A new run of `command` in its own process group, alive beyond the caller's own death.

    `env` is added to the environment. Raises JobBusyError naming the run of the same kind that is under way.
    """
    kind_folder = home / "jobs" / kind
    kind_folder.mkdir(parents=True, exist_ok=True)
    lock = _take_lock(kind_folder)
    try:
        now = datetime.now(UTC)
        job = Job(kind_folder / f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
        job.folder.mkdir()
        _write_json(job.folder / "job.json", {"command": list(command), "cwd": str(cwd), "started_at": now.isoformat()})
        _prune(kind_folder)
        os.pwrite(lock, job.id.encode(), 0)
        _spawn_supervisor(job, lock, env or {})
    finally:
        os.close(lock)  # the supervisor holds its own copy by now
    return job


def find(home: Path, kind: str, job_id: str) -> Job:
    """Run by id. Raises NotFoundError."""
    job = Job(home / "jobs" / kind / job_id)
    if job.folder.parent != home / "jobs" / kind or not (job.folder / "job.json").exists():
        raise NotFoundError(f"no {kind} run {job_id!r}; the last {_KEPT} are kept")
    return job


def running(home: Path, kind: str) -> Job | None:
    """The run of a kind that is under way."""
    holder = _holder(home / "jobs" / kind)
    return Job(home / "jobs" / kind / holder) if holder else None


def recent(home: Path, kind: str, limit: int = _KEPT) -> list[Job]:
    """Runs of a kind, newest first."""
    found = sorted((home / "jobs" / kind).glob("*/job.json"), reverse=True)
    return [Job(path.parent) for path in found[:limit]]


def own_folder() -> Path | None:
    """Folder of the run that this process belongs to, None outside a run; what it puts there goes when the run does."""
    path = os.environ.get(PROGRESS_VARIABLE)
    return Path(path).parent if path else None


def report(stage: str, message: str, fraction: float | None = None, *, failed: bool = False) -> None:
    """Tell whoever follows this run how far it is; does nothing outside a run.

    `fraction` is of the whole run, 0 to 1. `failed` marks the message as the reason why the run will fail.
    """
    path = os.environ.get(PROGRESS_VARIABLE)
    if not path:
        return
    event = Progress(datetime.now(UTC).isoformat(timespec="milliseconds"), stage, message, fraction, failed)
    with Path(path).open("ab", buffering=0) as file:  # one write: lines of several processes never mix
        file.write(json.dumps(asdict(event)).encode() + b"\n")


# --- lock -----------------------------------------------------------------------------------------------------


def _take_lock(kind_folder: Path) -> int:
    """File descriptor that holds the lock of a kind."""
    lock = os.open(kind_folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for _ in range(5):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)  # the run before no longer holds it
            return lock
        time.sleep(0.02)  # `_holder` of another process may be looking, for an instant
    holder = os.pread(lock, 100, 0).decode()
    os.close(lock)
    raise JobBusyError(f"{kind_folder.name} run {holder} is under way; wait for it or cancel it")


def _holder(kind_folder: Path) -> str:
    """Id of the run that holds the lock of a kind, or nothing."""
    try:
        lock = os.open(kind_folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(lock, 100, 0).decode()
    finally:
        os.close(lock)
    return ""


# --- supervisor -----------------------------------------------------------------------------------------------


def _spawn_supervisor(job: Job, lock: int, env: Mapping[str, str]) -> None:
    with (job.folder / "output.log").open("ab") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "netwarden.jobs", str(job.folder), str(lock)],
            env={**os.environ, **env, PROGRESS_VARIABLE: str(job.folder / "progress.jsonl"), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(lock,),
            start_new_session=True,
        )
    # Reaps it if this process outlives the run; otherwise init does.
    threading.Thread(target=supervisor.wait, name=f"reap-{job.id}", daemon=True).start()


def supervise(folder: Path, lock: int) -> None:
    """Run the command of a job folder to its end and write how it ended."""
    job = _read_json(folder / "job.json")
    signal.signal(signal.SIGTERM, lambda *_: (folder / "cancel").touch())
    try:
        command = subprocess.Popen(
            job["command"], cwd=job["cwd"], stdin=subprocess.DEVNULL, pass_fds=(lock,), process_group=0
        )
    except OSError as error:
        _finish(folder, "failed", f"cannot start {job['command'][0]}: {error.strerror}", None)
        return
    (folder / "group").write_text(str(command.pid))
    _wait_or_end(command, folder / "cancel")
    _signal_group(command, signal.SIGKILL)  # what the command left behind
    if command.returncode == 0:
        _finish(folder, "succeeded", "", 0)
    elif (folder / "cancel").exists():
        _finish(folder, "cancelled", "cancelled", command.returncode)
    else:
        last = next((line for line in reversed(Job(folder).log_tail()) if line.strip()), "")
        _finish(folder, "failed", last or f"exit code {command.returncode}", command.returncode)


def _wait_or_end(command: subprocess.Popen[bytes], cancel: Path) -> None:
    """Return when the command has ended: by itself, or asked to, or killed for not doing so."""
    asked_at = None
    while command.poll() is None:
        if asked_at is None and cancel.exists():
            asked_at = time.monotonic()
            _signal_group(command, signal.SIGTERM)
        elif asked_at is not None and time.monotonic() - asked_at > _GRACE_S:
            _signal_group(command, signal.SIGKILL)
        time.sleep(_POLL_S)


def _signal_group(command: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, number)


def _finish(folder: Path, state: JobState, error: str, exit_code: int | None) -> None:
    ended_at = datetime.now(UTC).isoformat()
    _write_json(folder / "result.json", {"state": state, "error": error, "exit_code": exit_code, "ended_at": ended_at})


# --- files ----------------------------------------------------------------------------------------------------


def _prune(kind_folder: Path) -> None:
    """Remove all but the newest runs; called with the lock held, so none of them is under way."""
    for path in sorted(kind_folder.glob("*/job.json"), reverse=True)[_KEPT:]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(value))
    draft.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise JobError("usage: python -m netwarden.jobs FOLDER LOCK_FD; Netwarden starts this itself")
    supervise(Path(sys.argv[1]), int(sys.argv[2]))
