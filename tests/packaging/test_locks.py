"""The locks install the same files everywhere, and name no place to get them from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock", "deploy/requirements-uv.txt"]


def pins(name: str) -> dict[str, str]:
    """Package → version as locked."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][\w.-]*)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_its_version_and_hashes(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    unhashed = [block.split()[0] for block in blocks if "==" not in block or "--hash=sha256:" not in block]
    assert blocks and not unhashed


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_index_and_no_address(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", text)


def test_both_locks_come_from_one_resolution():
    core, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert len(core) > 100
    assert {name: version for name, version in core.items() if dev.get(name) != version} == {}


def test_the_three_traps_of_the_resolver_are_avoided():
    dev = pins("requirements-dev.lock")
    assert not [name for name in dev if name.startswith(("nvidia-nccl", "torch"))]
    assert tuple(map(int, dev["graphene"].split(".")[:2])) >= (3, 4)
    assert "xgboost" in dev and "xgboost-cpu" not in dev


def test_the_locks_are_up_to_date_with_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]

    def missing(requirements, lock):
        locked = pins(lock)
        return [name for name in map(normal_name, requirements) if name not in locked]

    assert not missing(project["dependencies"], "requirements.lock")
    assert not missing(extras["dev"] + extras["spark"], "requirements-dev.lock")


def normal_name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()
