"""What `make` promises: both README commands from a clone, and a list of everything it can do."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISED = ["setup", "run", "test", "check", "bench", "serve", "clean", "coverage", "mlflow", "lock", "notebook"]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a newcomer gets: the tracked files alone."""
    folder = tmp_path_factory.mktemp("clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target)
    return folder


@pytest.mark.parametrize("target", ["run", "test", "check", "serve", "mlflow"])
def test_a_clone_with_nothing_installed_first_makes_its_environment(clone, target):
    plan = make(clone, "--dry-run", target)
    assert plan.returncode == 0, plan.stderr
    assert re.search(r"pip sync .*--require-hashes requirements(-dev)?\.lock", plan.stdout)


def test_running_installs_the_core_lock_only(clone):
    plan = make(clone, "--dry-run", "run").stdout
    assert "--require-hashes requirements.lock" in plan
    assert plan.index("requirements.lock") < plan.index("ETL.py") < plan.index("main.py") < plan.index("serve")


def test_an_environment_that_is_up_to_date_is_left_alone(clone):
    venv = clone / ".venv"
    venv.mkdir()
    for stamp in (".installed-core", ".installed-dev"):
        (venv / stamp).touch()
    try:
        assert "Installing" not in make(clone, "--dry-run", "setup").stdout
        assert "Installing" not in make(clone, "--dry-run", "run").stdout
        os.utime(clone / "requirements-dev.lock")
        os.utime(venv / ".installed-dev", (0, 0))
        assert "requirements-dev.lock" in make(clone, "--dry-run", "setup").stdout
    finally:
        shutil.rmtree(venv)


def test_help_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for line in re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE) for name in line.split()}
    listed = set(re.findall(r"^  make (\S+)", make(ROOT, "help").stdout, re.MULTILINE))
    assert targets == listed
    assert set(PROMISED) <= listed


def test_cleaning_leaves_state_alone(clone):
    keep = [clone / "data" / name for name in ("flows.sqlite", "bundles/a/bundle.json", "manifests/mine.json")]
    gone = [clone / "data/pipeline/train/bundle.json", clone / ".mypy_cache/x", clone / "build/x"]
    for path in keep + gone:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    done = make(clone, "clean")
    assert done.returncode == 0, done.stderr
    assert all(path.exists() for path in keep) and not any(path.exists() for path in gone)
    assert "Kept" in done.stdout


def test_a_python_of_another_version_is_refused_with_a_clear_message(clone, tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1"; exit 1\n', encoding="utf-8")
    old.chmod(0o755)
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if not Path(folder, "uv").exists())
    run = subprocess.run(
        [clone / "deploy/find_uv.sh", old, tmp_path / "uv"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "Python 3.11 is needed" in run.stderr and "Python 3.9.1" in run.stderr
