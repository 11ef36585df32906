"""A workspace that may be written, where the given one may not: an image's, whose files are root's or read-only."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from netwarden import logs
from netwarden.errors import ConfigError
from netwarden.settings import Settings

# As the given workspace has them, at every start: what stages depend on.
_REFRESHED = ("dvc.yaml", ".dvcignore", ".dvc/config", "schema", "src")
# Training and owners write these, so they are copied once.
_KEPT = ("params.json", "dvc.lock", "data/manifests")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")

_log = logs.get(__name__)


def writable_workspace(settings: Settings) -> Settings:
    """The settings; where their workspace cannot be written, with a copy at NETWARDEN_HOME/workspace in its place.

    The copy holds what the pipeline reads and writes. Everything else, such as config/ and .env, is a link back.
    """
    given, copy = settings.workspace, settings.home / "workspace"
    if os.access(given, os.W_OK) or not (given / "dvc.yaml").exists():
        return settings
    try:
        copy.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"neither {given} nor {settings.home} can be written ({error.strerror}); "
            "set NETWARDEN_HOME to a folder or volume of this user's"
        ) from None
    for names, take in ((_REFRESHED, _refresh), (_KEPT, _copy_once)):
        for name in names:
            _take(given / name, copy / name, take)
    _drop_what_is_gone(given / "src", copy / "src")
    _link_the_rest(given, copy)
    _log.info("the workspace cannot be written; its copy is used", extra={"workspace": str(given), "copy": str(copy)})
    return settings.model_copy(update={"workspace": copy})


def _take(source: Path, target: Path, take: Callable[[str, str], None]) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT, copy_function=take, dirs_exist_ok=True)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        take(str(source), str(target))


def _refresh(source: str, target: str) -> None:
    if not Path(target).exists() or not filecmp.cmp(source, target, shallow=False):
        _copy(source, target)


def _copy_once(source: str, target: str) -> None:
    if not Path(target).exists():
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    """In one step: somebody else may be reading it."""
    draft = f"{target}.{os.getpid()}"
    shutil.copyfile(source, draft)
    Path(draft).replace(target)


def _drop_what_is_gone(given: Path, copy: Path) -> None:
    """A module that a newer image lacks would keep stages from being up to date."""
    for file in sorted(copy.rglob("*")):
        if file.is_file() and not (given / file.relative_to(copy)).exists():
            file.unlink()


def _link_the_rest(given: Path, copy: Path) -> None:
    ours = {name.split("/")[0] for name in (*_REFRESHED, *_KEPT)} | {".git"}  # DVC would take the copy for a checkout
    for entry in given.iterdir():
        link = copy / entry.name
        if entry.name not in ours and not link.is_symlink():
            link.symlink_to(entry)
