"""DVC knows every module that a stage uses: else editing one would leave the stage falsely up to date."""

from pathlib import Path

import grimp
import pytest
import yaml

from tests.fixtures.data import ROOT

STAGES = ("ingest", "validate", "transform", "train", "evaluate", "register")


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("netwarden", cache_dir=None)


@pytest.fixture(scope="module")
def pipeline():
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())


def modules_of(stage, graph) -> set[Path]:
    """Files of the modules that a stage imports, directly or by way of others, and of their packages."""
    # The package's own __init__ imports scoring only when someone asks for netwarden.load.
    names = ({f"netwarden.stages.{stage}"} | graph.find_upstream_modules(f"netwarden.stages.{stage}")) - {"netwarden"}
    files = set()
    for name in names:
        path = ROOT / "src" / name.replace(".", "/")
        files.add(path / "__init__.py" if path.is_dir() else path.with_suffix(".py"))
    return files


def listed_by(stage, pipeline) -> list[Path]:
    return [ROOT / dep for dep in pipeline["stages"][stage]["deps"] if dep.startswith("src/")]


def test_the_pipeline_has_one_module_per_stage_in_reading_order(pipeline):
    assert tuple(pipeline["stages"]) == STAGES
    for stage in STAGES:
        assert pipeline["stages"][stage]["cmd"] == f"python -m netwarden.stages.{stage}"
        assert len((ROOT / f"src/netwarden/stages/{stage}.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_every_module_it_reaches(stage, graph, pipeline):
    listed = listed_by(stage, pipeline)
    covered = {path for path in modules_of(stage, graph) if any(path.is_relative_to(dep) for dep in listed)}
    empty = {path for path in modules_of(stage, graph) if path.name == "__init__.py" and _says_nothing(path)}
    assert modules_of(stage, graph) - covered - empty == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_nothing_it_does_not_reach(stage, graph, pipeline):
    reached = modules_of(stage, graph)
    assert [dep for dep in listed_by(stage, pipeline) if not any(path.is_relative_to(dep) for path in reached)] == []


def _says_nothing(path: Path) -> bool:
    return len(path.read_text().splitlines()) <= 1  # a docstring
