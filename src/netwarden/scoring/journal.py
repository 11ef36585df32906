"""What a long run has done so far, kept beside its target: a run that was killed goes on where it had come to.

    .TARGET.parts/job.json          what is done: input, bundle, options; another job starts anew
    .TARGET.parts/lock              held (flock) by the run under way
    .TARGET.parts/000000/           a part: whatever its maker wrote, and state.json, how far the run was behind it

A part appears whole, by a rename, so no row of it can be lost or doubled.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwarden.errors import InputError, JobBusyError, NetwardenError
from netwarden.flows.writing import why

_JOB, _STATE, _LOCK, _DRAFT = "job.json", "state.json", "lock", "draft"


@dataclass(frozen=True)
class Journal:
    """The parts of one job."""

    folder: Path

    @property
    def parts(self) -> list[Path]:
        """Folders of all parts, in order."""
        return sorted(path for path in self.folder.iterdir() if path.name.isdecimal())

    @property
    def state(self) -> dict[str, Any]:
        """What the last part said of how far the run was; empty before the first."""
        parts = self.parts
        return dict(json.loads((parts[-1] / _STATE).read_bytes())) if parts else {}

    def begin(self) -> Path:
        """Empty folder for what the next part is to hold."""
        draft = self.folder / _DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        return draft

    def commit(self, draft: Path, state: Mapping[str, Any]) -> None:
        """Make a folder that `begin` gave a part: `state` says how far the run is behind it."""
        _write_json(draft / _STATE, state)
        for path in draft.iterdir():
            _flush(path)  # the rename must not reach the disk before what it names
        draft.rename(self.folder / f"{len(self.parts):06d}")
        _flush(self.folder)


@contextmanager
def open_journal(target: Path, job: Mapping[str, Any]) -> Iterator[Journal]:
    """Journal of the job that makes `target`, with the parts of an earlier run of it that was killed or interrupted.

    It is gone once the block has ended well, or with an error of ours, which would only come again. Raises JobBusyError
    where another run is at it.
    """
    folder = target.with_name(f".{target.name}.parts")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"the output cannot be written in {target.parent.absolute()}: {why(error)}") from None
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JobBusyError(f"another run is writing {target}; wait for it, or choose another name") from None
        _begin(folder, dict(job))
        try:
            yield Journal(folder)
        except NetwardenError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _begin(folder: Path, job: dict[str, Any]) -> None:
    stated = folder / _JOB
    if stated.exists() and stated.read_bytes() == _encoded(job):
        return
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    _write_json(stated, job)


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(_encoded(value))


def _encoded(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
