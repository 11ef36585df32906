"""Folders of recordings under way: they appear when all is there, or pass; what killed recorders left goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from netwarden.errors import ConfigError

_PASSING = "netwarden-lab-"


@contextmanager
def appearing(folder: Path, mark: str) -> Iterator[Path]:
    """A folder that takes its name when the block ends well, in place of an earlier one that holds the file `mark`.

    Else it is removed. Raises ConfigError where something else lies there.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and ((folder / mark).is_file() or not any(folder.iterdir()))):
        raise ConfigError(f"{folder} holds something other than a recording; choose another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    draft.mkdir()
    try:
        yield draft
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def passing_folder() -> Iterator[Path]:
    """A folder for a recording that nobody keeps; it goes with the block, or after a kill with `remove_passing`."""
    with TemporaryDirectory(prefix=f"{_PASSING}{os.getpid()}-") as folder:
        yield Path(folder) / "recording"


def remove_passing() -> list[str]:
    """Remove this user's passing folders of processes that were killed; gives their paths."""
    gone = []
    for folder in Path(gettempdir()).glob(f"{_PASSING}*-*"):
        pid = folder.name.removeprefix(_PASSING).split("-")[0]
        if _has_ended(pid) and folder.lstat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
            gone.append(str(folder))
    return gone


def _remove_abandoned(folder: Path) -> None:
    """Drafts of recorders that were killed."""
    for draft in folder.parent.glob(f".{folder.name}.*.part"):
        if _has_ended(draft.name.split(".")[-2]):
            shutil.rmtree(draft, ignore_errors=True)


def _has_ended(pid: str) -> bool:
    return pid.isdigit() and not Path(f"/proc/{pid}").exists()
