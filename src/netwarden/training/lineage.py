"""What a bundle was made from: the commit of its code, the locks of its data and libraries."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import yaml

_SHAPING_STAGES = ("ingest", "transform", "train")


def shaping_commit(workspace: Path) -> str:
    """Last commit that changed anything a bundle is made from, `+changes` where there are uncommitted ones.

    Not simply HEAD: committing dvc.lock or a page of documentation must not make another bundle of the same training.
    Empty outside a git repository.
    """
    paths = ["params.json", "dvc.yaml", *_dependencies(workspace / "dvc.yaml")]
    commit = _git(workspace, "log", "-1", "--format=%H", "--", *paths)
    changed = _git(workspace, "status", "--porcelain", "--", *paths)
    return f"{commit}+changes" if commit and changed else commit


def head_commit(workspace: Path) -> str:
    """Commit that is checked out; empty outside a git repository."""
    return _git(workspace, "rev-parse", "HEAD")


def file_hash(path: Path) -> str:
    """sha256 of a file, empty where it is missing."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _dependencies(path: Path) -> list[str]:
    """Source paths of the stages that shape a bundle; outputs of other stages lie under data/."""
    if not path.exists():
        return []
    stages: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
    listed = {dep for name in _SHAPING_STAGES for dep in stages.get(name, {}).get("deps", ())}
    return sorted(dep for dep in listed if not dep.startswith("data/"))


def _git(workspace: Path, *arguments: str) -> str:
    try:
        run = subprocess.run(["git", *arguments], cwd=workspace, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""  # no git on this machine
    return run.stdout.strip() if run.returncode == 0 else ""
