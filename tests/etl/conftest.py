"""A workspace of its own for every test: the repository's schemas, an empty state folder, an empty data folder."""

import gzip
import shutil

import pytest

from netwarden.settings import Settings
from tests.fixtures.data import ROOT


@pytest.fixture
def settings(tmp_path):
    shutil.copytree(ROOT / "schema", tmp_path / "workspace" / "schema")
    (tmp_path / "datasets").mkdir()
    return Settings(workspace=tmp_path / "workspace", home=tmp_path / "home", datasets=tmp_path / "datasets")


@pytest.fixture(scope="session")
def nsl_lines(nsl_kdd):
    """Lines of the two official files: a slice that holds rows of the overlap, and every label of the slice."""
    with gzip.open(nsl_kdd / "KDDTrain+.txt.gz", "rt") as train, gzip.open(nsl_kdd / "KDDTest+.txt.gz", "rt") as test:
        tested = test.readlines()
        known = set(tested)
        trained = train.readlines()
    overlap = [line for line in trained if line in known][:7]
    shared = set(overlap)
    return {
        "train": overlap + [line for line in trained[:3000] if line not in known],
        "test": [line for line in tested[:1000] if line not in shared] + overlap,
    }


@pytest.fixture
def nsl_slice(nsl_lines, settings):
    """A folder with slices of KDDTrain+ and KDDTest+ that share seven rows, and a KDDTest-21 that must stay out."""
    folder = settings.datasets / "nsl-kdd"
    folder.mkdir()
    (folder / "KDDTrain+.txt").write_text("".join(nsl_lines["train"]))
    (folder / "KDDTest+.txt").write_text("".join(nsl_lines["test"]))
    (folder / "KDDTest-21.txt").write_text("".join(nsl_lines["test"][:50]))
    return folder
