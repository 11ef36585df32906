"""make push, deploy and rollback, with programs in place of docker and aws that write down how they are called."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging import stand_in
from tests.packaging.test_make import ROOT

HERE = "111122223333.dkr.ecr.eu-central-1.amazonaws.com"
OLD, NEW = (f"sha256:{letter * 64}" for letter in "ad")


@dataclass
class Machine:
    """A machine of our own to deploy to."""

    state: Path

    def make(self, *words: str, **given: str) -> subprocess.CompletedProcess[str]:
        env = {
            **os.environ,
            "PATH": f"{self.state / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "REGISTRY": HERE,
            "REPOSITORY": "netwarden",
            "AWS_REGION": "eu-central-1",
            "ENV_FILE": str(self.state / "netwarden.env"),
            "HEALTHY_S": "1",
            **given,
        }
        return subprocess.run(["make", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    def calls(self, program: str = "docker") -> list[list[str]]:
        lines = (self.state / "calls").read_text().splitlines()
        return [words[1:] for words in map(json.loads, lines) if words[0] == program]

    def containers(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.state / "containers").iterdir()}


@pytest.fixture
def machine(tmp_path) -> Machine:
    """One on which nothing runs yet."""
    for folder in ("bin", "containers"):
        (tmp_path / folder).mkdir()
    for program in ("docker", "aws", "gh"):
        script = tmp_path / "bin" / program
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in.__file__} {tmp_path} {program} "$@"\n')
        script.chmod(0o755)
    (tmp_path / "netwarden.env").touch()
    (tmp_path / "calls").touch()
    return Machine(tmp_path)


def test_an_image_is_built_and_pushed_under_its_commit_and_named_by_its_digest(machine, tmp_path):
    assert machine.make("image", TAG="abc").returncode == 0
    pushed = machine.make("push", TAG="abc", GITHUB_OUTPUT=str(tmp_path / "output"))
    assert pushed.returncode == 0, pushed.stderr
    assert stand_in.DIGEST in pushed.stdout
    assert (tmp_path / "output").read_text() == f"digest={stand_in.DIGEST}\n"
    build, login, *rest = machine.calls()
    assert {"BASE=python:3.11-slim-bookworm", "netwarden:abc"} <= set(build)
    assert login[:2] == ["login", "--username"] and "latest" not in json.dumps(rest)
    assert machine.calls("aws") == [["ecr", "get-login-password", "--region", "eu-central-1"]]


def test_a_deployment_runs_the_digest_as_the_design_says_and_the_one_before_is_a_command_away(machine):
    assert machine.make("deploy", f"DIGEST={OLD}").returncode == 0
    (run,) = [words for words in machine.calls() if words[0] == "run"]
    assert run[-1] == f"{HERE}/netwarden@{OLD}"
    for option, value in {
        "--name": "netwarden",
        "--publish": "8080:8000",
        "--env-file": str(machine.state / "netwarden.env"),
        "--volume": "netwarden:/var/lib/netwarden",
    }.items():
        assert run[run.index(option) + 1] == value
    assert {"--ipc=host", "--read-only"} <= set(run)
    assert machine.make("deploy", f"DIGEST={NEW}").returncode == 0
    assert machine.containers() == {
        "netwarden": f"{HERE}/netwarden@{NEW}",
        "netwarden-before": f"{HERE}/netwarden@{OLD}",
    }
    back = machine.make("rollback")
    assert back.returncode == 0 and f"runs {HERE}/netwarden@{OLD} again" in back.stderr
    assert machine.containers() == {"netwarden": f"{HERE}/netwarden@{OLD}"}
    assert not [words for words in machine.calls() if "prune" in words or "latest" in json.dumps(words)]


def test_a_container_that_does_not_become_healthy_gives_its_place_back(machine):
    machine.make("deploy", f"DIGEST={OLD}")
    failed = machine.make("deploy", f"DIGEST={NEW}", REPOSITORY="bad")
    assert failed.returncode != 0
    assert "netwarden is not healthy after 1 s" in failed.stderr and "again" in failed.stderr
    assert machine.containers() == {"netwarden": f"{HERE}/netwarden@{OLD}"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["deploy", "DIGEST=latest"], "'latest' is no digest"),
        (["deploy", f"DIGEST={OLD}", "ENV_FILE=/nowhere"], "/nowhere is not there; put the settings into it"),
        (["rollback"], "nothing to go back to"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_changed(machine, words, said):
    refused = machine.make(*words)
    assert refused.returncode != 0 and said in refused.stderr
    assert not [call for call in machine.calls() if call[0] in ("run", "rm", "stop", "rename")]


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command; no engine is asked")
def test_the_docker_command_knows_every_option_it_is_given(machine):
    machine.make("image")
    machine.make("push")
    for digest in (OLD, NEW, OLD):
        machine.make("deploy", f"DIGEST={digest}")
    machine.make("rollback")
    nowhere = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    for words in {tuple(call) for call in machine.calls() if call[0] not in ("login", "build")}:
        told = subprocess.run(["docker", *words], env=nowhere, capture_output=True, text=True, check=False).stderr
        assert "Usage" not in told and "unknown" not in told, f"{words}: {told}"


def test_figures_of_a_training_run_go_into_the_pull_request(machine, tmp_path):
    figures = ROOT / "build/metrics-diff.md"
    before = figures.read_text() if figures.exists() else None
    figures.parent.mkdir(exist_ok=True)
    try:
        figures.write_text("| Metric | Change |\n")
        assert machine.make("comment", PULL_REQUEST="12").returncode == 0
    finally:
        figures.unlink()
        if before is not None:
            figures.write_text(before)
    assert machine.calls("gh") == [["pr", "comment", "12", "--body-file", "build/metrics-diff.md"]]
    missing = machine.make("comment", PULL_REQUEST="12")
    assert before is not None or "make metrics-diff writes it" in missing.stderr
