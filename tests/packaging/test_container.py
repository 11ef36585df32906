"""The image: linted, nothing secret in its context, and its steps lead to a portal that answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.replay_dockerfile import in_context
from tests.packaging.test_make import ROOT

BIN = Path(sys.executable).parent


def test_the_dockerfile_is_clean():
    run = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_image_holds_no_secrets_and_no_state():
    kept_out = [".env", ".git/config", "data/flows.sqlite", "data/bundles/a/bundle.json", ".venv/bin/python",
                ".dvc/config.local", "src/netwarden/__pycache__/cli.pyc", "tests/conftest.py"]  # fmt: skip
    assert [name for name in kept_out if in_context(name)] == []
    wanted = ["src/netwarden/cli.py", "schema/nsl_kdd.yaml", "requirements.lock", "data/manifests/nsl_kdd.json"]
    assert [name for name in wanted if not in_context(name)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)  # installs every package once more
def test_the_steps_of_the_dockerfile_lead_to_a_portal_that_answers():
    run = subprocess.run(
        [sys.executable, ROOT / "deploy/replay_dockerfile.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    assert "portal answered /health" in run.stdout and "HEALTHCHECK agrees" in run.stdout
