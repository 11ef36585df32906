"""Workspaces with a slice of NSL-KDD in an embedded store, and one in which the pipeline has run."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netwarden.settings import Settings, load_settings
from netwarden.sources.etl import run_etl
from netwarden.stages.run import run_pipeline
from tests.fixtures.data import ROOT

# Every family of the training file is among these, and of the test file's unseen attacks many.
TRAIN_ROWS, TEST_ROWS = 9000, 3000


@pytest.fixture(scope="session")
def slices(nsl_kdd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with every 14th row of KDDTrain+ and every 7th of KDDTest+."""
    folder = tmp_path_factory.mktemp("slices")
    for name, step in (("KDDTrain+.txt", 14), ("KDDTest+.txt", 7)):
        with gzip.open(nsl_kdd / f"{name}.gz", "rt") as file:
            (folder / name).write_text("".join(line for row, line in enumerate(file) if row % step == 0))
    return folder


def make_workspace(folder: Path, *, git: bool = False) -> Path:
    """Copy of the project's files that the pipeline reads, with parameters for a small dataset."""
    for name in ("schema", "config", ".dvc/plots", "src/netwarden"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore", "main.py"):
        shutil.copy(ROOT / name, folder / name)
    params = json.loads((ROOT / "params.json").read_text())
    params["ingest"]["dataset"] = "nsl_kdd"
    params["train"]["false_positive_budget"] = 0.01
    params["xgb_classifier"]["n_estimators"] = 10
    params["evaluate"]["permutation_rows"] = 200
    (folder / "params.json").write_text(json.dumps(params, indent=2) + "\n")
    if git:
        run_git(folder, "init", "--quiet", "--initial-branch=main")
        commit(folder, "Workspace")
    return folder


def settings_of(workspace: Path, **environment: str) -> Settings:
    """Settings of a workspace, with nothing of this machine's own configuration."""
    return load_settings({"NETWARDEN_WORKSPACE": str(workspace), **environment}, start=workspace)


def load_slices(settings: Settings, files: list[Path]) -> None:
    run_etl(settings, files, dataset="nsl_kdd", schema="nsl_kdd")


def run_git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    run = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return run.stdout.strip()


def commit(folder: Path, message: str) -> None:
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--message", message)


def dvc(folder: Path, *arguments: str) -> str:
    """Output of a DVC command as a user in the virtual environment runs it."""
    run = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Process environment in which stages find their state and nothing of this machine's configuration."""
    before = dict(os.environ)
    for name in ("NETWARDEN_WORKSPACE", "NETWARDEN_HOME", "MONGODB_URI", "URI", "S3_BUCKET", "MLFLOW_TRACKING_URI"):
        os.environ.pop(name, None)
    # `python` in dvc.yaml is the one that runs the tests, as in an activated environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before['PATH']}"
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def finished(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A git workspace in which the pipeline has run once, and was committed; tests only read it."""
    folder = tmp_path_factory.mktemp("finished")
    with environment(BENTOML_HOME=str(folder.parent / "bentoml")):
        make_workspace(folder, git=True)
        settings = settings_of(folder)
        load_slices(settings, [slices])
        run_pipeline(settings)
        commit(folder, "First run")
        yield folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change."""
    shutil.copytree(finished, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"
