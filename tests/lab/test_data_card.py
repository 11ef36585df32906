"""The data card and the shipped files say the same."""

import gzip
import platform
import re

import pytest

from netwarden.lab.audit_features import load_reasons
from netwarden.lab.audit_page import COUNTS, counts_table, rewritten, write_versions
from netwarden.lab.dataset import LARGEST_FILE_BYTES, LARGEST_TOTAL_BYTES, compact_csv
from netwarden.lab.days import load_days
from netwarden.lab.programs import installed_versions, programs
from netwarden.lab.scenario import load_scenario
from netwarden.settings import Settings
from netwarden.sources.manifest import read_manifest
from tests.fixtures.data import ROOT

DATA = ROOT / "lab" / "data"
PROVIDED = {"postgresql-client"}  # by the package postgresql, whatever its version


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    return Settings(workspace=ROOT, home=folder, datasets=folder)


@pytest.fixture(scope="module")
def days(settings):
    return load_days(settings)


def test_the_card_counts_the_flows_that_ship(days):
    page = (ROOT / "docs" / "lab-dataset.md").read_text(encoding="utf-8")
    assert rewritten(page, COUNTS, counts_table(days)) == page


def test_the_manifest_counts_them_too(days):
    manifest = read_manifest(ROOT / "data" / "manifests", "lab")
    assert manifest.rows == {split: int((days.splits == split).sum()) for split in ("test", "train", "validation")}
    assert sum(manifest.labels.values()) == len(days)


def test_shipped_files_are_no_larger_than_they_may_be():
    shipped = [path for path in (ROOT / "lab").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in shipped) <= LARGEST_FILE_BYTES
    assert sum(path.stat().st_size for path in shipped) <= LARGEST_TOTAL_BYTES


def test_a_shipped_file_read_back_makes_the_same_file_again(days):
    path = min(DATA.glob("*.csv.gz"), key=lambda path: path.stat().st_size)
    arrow = days.table.arrow.filter([name == path.name for name in days.texts("source_file").tolist()])
    assert gzip.decompress(compact_csv(arrow, days.schema)) == gzip.decompress(path.read_bytes())


def test_more_than_nine_in_ten_flows_of_every_day_are_benign_and_day_5_has_attacks_of_its_own(days):
    for day in set(days.days.tolist()):
        assert (~days.attack[days.days == day]).mean() > 0.9, day
    seen = set(days.variants[days.splits != "test"].tolist())
    assert set(days.variants[days.splits == "test"].tolist()) - seen


def test_reasons_are_read():
    assert load_reasons(ROOT / "lab" / "reasons.yaml")


def test_the_table_of_tools_is_written_between_its_marks(tmp_path):
    page = tmp_path / "card.md"
    page.write_text((ROOT / "docs" / "lab-dataset.md").read_text(encoding="utf-8"), encoding="utf-8")
    write_versions(page, installed_versions(["iproute2", "no-such-package"]))
    told = page.read_text(encoding="utf-8").partition("<!-- begin tools")[2].partition("<!-- end tools")[0]
    assert re.search(r"\| Linux \| \d+\.\d+", told) and "no-such-package" not in told
    assert f"| Python | {platform.python_version()} |" in told


def test_the_card_has_a_version_of_every_package_that_the_scenarios_need():
    page = (ROOT / "docs" / "lab-dataset.md").read_text(encoding="utf-8")
    scenarios = [load_scenario(path) for path in (ROOT / "lab" / "scenarios").glob("day-*.yaml")]
    needed = {package for one in scenarios for program in programs(one).values() for package in program.tools.values()}
    assert [package for package in sorted(needed - PROVIDED) if f"| {package} | " not in page] == []
