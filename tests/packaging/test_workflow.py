"""The GitHub workflows: valid, pinned, frugal with permissions, and nothing that cannot be run by hand."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from tests.packaging.test_make import ROOT

FOLDER = ROOT / ".github/workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yaml"))
TEXT = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"}
REGISTRY = {"AWS_ECR_LOGIN_URI", "ECR_REPOSITORY_NAME"}
# Where else each target is run by what runs here: a script of continuous integration, or a test.
TRIED = {
    "lint": ".ci/run",  # by `make test`
    "types": ".ci/run",
    "test": ".ci/run",
    "system-packages": ".ci/run",  # deploy/system_packages.sh
    "lint-docker": "tests/packaging/test_workflow.py",
    "lint-workflow": "tests/packaging/test_workflow.py",
    "data": "tests/packaging/test_workflow.py",
    "lab": "tests/lab",
    "audit": "tests/packaging/test_supply.py",
    "sbom": "tests/packaging/test_supply.py",
    "image": "tests/packaging/test_release.py",
    "push": "tests/packaging/test_release.py",
    "deploy": "tests/packaging/test_release.py",
    "comment": "tests/packaging/test_release.py",
    "propose": "tests/packaging/test_workflow.py",
    "snapshots": "tests/pipeline/test_pipeline.py",
    "retrain": "tests/pipeline/test_pipeline.py",
    "metrics-diff": "tests/pipeline/test_pipeline.py",
}


def read(name: str):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def jobs():
    return read("main")["jobs"]


@pytest.mark.parametrize("target", ["lint-workflow", "lint-docker"])
def test_the_validators_find_nothing(target):
    run = subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def commands() -> list[str]:
    every = [job for path in WORKFLOWS for job in read(path.stem)["jobs"].values()]
    return [step["run"] for job in every for step in job["steps"] if "run" in step]


def test_every_step_that_runs_a_command_runs_a_make_target_that_is_run_here_too():
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  make (\S+)", listed, re.MULTILINE))
    assert all(re.fullmatch(r"make [a-z-]+( [A-Z]+=\w+)*", command) for command in commands())
    assert {command.split()[1] for command in commands()} == set(TRIED) <= targets
    for target, place in TRIED.items():
        if place.endswith(".py"):
            assert f'"{target}"' in (ROOT / place).read_text(encoding="utf-8"), f"{place} does not run make {target}"


def test_a_dataset_that_comes_along_is_found_where_it_is():
    run = subprocess.run(["make", "data"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "lab" in run.stdout


def test_a_new_lock_is_proposed_as_a_branch_and_an_old_one_is_not(tmp_path):
    """gh is a program here that does nothing; git is real, and so is where it pushes to."""
    work, origin = tmp_path / "work", tmp_path / "origin.git"
    shutil.copytree(ROOT / "deploy", work / "deploy", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    shutil.copy(ROOT / "Makefile", work)
    (work / "dvc.lock").write_text("a\n")
    (tmp_path / "gh").write_text("#!/bin/sh\n")
    (tmp_path / "gh").chmod(0o755)

    def run(*words: str) -> str:
        env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(words, cwd=work, env=env, capture_output=True, text=True, check=True).stdout

    run("git", "init", "--quiet", "--bare", str(origin))
    run("git", "init", "--quiet", "--initial-branch=main")
    run("git", "remote", "add", "origin", str(origin))
    run("git", "add", "--all")
    run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "First")
    assert "nothing to propose" in run("make", "propose")
    (work / "dvc.lock").write_text("b\n")
    run("make", "propose")
    assert run("git", "branch", "--show-current").startswith("retrained/")
    assert "retrained/" in run("git", "ls-remote", "origin")
    assert run("git", "diff", "--name-only", "main").split() == ["dvc.lock"]


def test_every_action_is_pinned_by_commit_and_says_its_version():
    uses = re.findall(r"uses: (.+)", TEXT)
    assert uses and all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use) for use in uses)


def test_jobs_run_in_order_and_may_do_no_more_than_they_must():
    assert list(jobs()) == ["lint", "test", "image", "deploy"]
    assert jobs()["image"]["needs"] == ["lint", "test"] and jobs()["deploy"]["needs"] == "image"
    assert jobs()["deploy"]["runs-on"] == "self-hosted"
    assert jobs()["deploy"]["environment"] == "production", "whose reviewers approve"
    oidc = {"contents": "read", "id-token": "write"}
    assert [job["permissions"] for job in jobs().values()] == [{"contents": "read"}] * 2 + [oidc] * 2
    assert all(read(path.stem)["permissions"] == {} for path in WORKFLOWS)


def test_the_image_is_deployed_by_the_digest_that_was_pushed():
    (deploy,) = [step for step in jobs()["deploy"]["steps"] if step.get("run") == "make deploy"]
    assert deploy["env"]["DIGEST"] == "${{ needs.image.outputs.digest }}"
    assert jobs()["image"]["outputs"]["digest"] == "${{ steps.push.outputs.digest }}"
    assert "latest" not in TEXT.replace("ubuntu-latest", "")


def test_the_role_goes_before_the_keys():
    for job in ("image", "deploy"):
        role, keys = (step for step in jobs()[job]["steps"] if "configure-aws-credentials" in step.get("uses", ""))
        assert (role["if"], role["with"]["role-to-assume"]) == ("env.ROLE != ''", "${{ env.ROLE }}")
        assert keys["if"].startswith("env.ROLE == ''")


def test_each_workflow_uses_its_secrets_and_no_others():
    used = {path.stem: set(re.findall(r"secrets\.(\w+)", path.read_text(encoding="utf-8"))) for path in WORKFLOWS}
    assert used == {"main": KEYS | REGISTRY | {"AWS_ROLE_ARN"}, "retrain": KEYS | {"MONGODB_URI", "S3_BUCKET"}}


def test_tests_use_the_servers_that_run_as_services():
    services = jobs()["test"]["services"]
    fixtures = (ROOT / "tests/fixtures/servers.py").read_text(encoding="utf-8")
    for name, variable in (("mongodb", "MONGODB_TEST_URI"), ("redis", "REDIS_TEST_URL"), ("s3", "S3_TEST_ENDPOINT")):
        port = services[name]["ports"][0].split(":")[0]
        assert f"127.0.0.1:{port}" in jobs()["test"]["env"][variable]
        assert f'environ.get("{variable}")' in fixtures
