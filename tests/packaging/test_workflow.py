"""The GitHub workflow: valid, pinned, frugal with permissions, and nothing that cannot be run by hand."""

import re
import subprocess
from pathlib import Path

import yaml

from tests.packaging.test_container import BIN
from tests.packaging.test_make import ROOT

WORKFLOW = ROOT / ".github/workflows/main.yaml"
SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ECR_LOGIN_URI", "ECR_REPOSITORY_NAME"}


def jobs():
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]


def test_the_validators_find_nothing():
    commands: list[list[str | Path]] = [
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        [BIN / "zizmor", "--offline", "--quiet", WORKFLOW],
        ["make", "--no-print-directory", "lint-actions"],
    ]
    for command in commands:
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


def test_every_step_that_runs_a_command_runs_a_make_target():
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
    commands = [step["run"] for job in jobs().values() for step in job["steps"] if "run" in step]
    assert commands and all(re.fullmatch(r"make [a-z-]+( [A-Z]+=\w+)*", command) for command in commands)
    assert {command.split()[1] for command in commands} <= targets


def test_every_action_is_pinned_by_commit_and_says_its_version():
    uses = re.findall(r"uses: (.+)", WORKFLOW.read_text(encoding="utf-8"))
    assert uses and all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses)


def test_jobs_run_in_order_and_may_only_read_the_repository():
    assert list(jobs()) == ["test", "image", "deploy"]
    assert jobs()["image"]["needs"] == "test" and jobs()["deploy"]["needs"] == "image"
    assert jobs()["deploy"]["runs-on"] == "self-hosted"
    assert all(job["permissions"] == {"contents": "read"} for job in jobs().values())


def test_the_five_secrets_are_used_and_no_others():
    assert set(re.findall(r"secrets\.(\w+)", WORKFLOW.read_text(encoding="utf-8"))) == SECRETS
