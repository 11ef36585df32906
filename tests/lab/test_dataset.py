"""Files of the bundled dataset: the same bytes for the same flows, read back as what was written, never too large."""

import gzip

import numpy as np
import pyarrow as pa
import pytest

from netwarden.errors import InputError
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.conform import conform
from netwarden.flows.labels import load_families
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.lab import dataset
from netwarden.lab.dataset import build_dataset, compact_csv
from netwarden.lab.days import load_days
from netwarden.settings import Settings
from netwarden.sources.etl import run_etl
from tests.fixtures.data import ROOT
from tests.fixtures.lab_days import made_up_day, write_days

SCHEMA = load_schema("netwarden_flow", ROOT / "schema")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five made-up days as files."""
    return write_days(tmp_path_factory.mktemp("lab") / "data", rows=200)


@pytest.fixture
def settings(tmp_path):
    return Settings(workspace=ROOT, home=tmp_path / "home", datasets=tmp_path)


def test_each_lab_hour_of_each_day_is_a_file(folder):
    names = [f"day-{day}-hour-{hour:02d}.csv.gz" for day in range(1, 6) for hour in (8, 9)]
    assert sorted(path.name for path in folder.glob("*.gz")) == names


def test_the_same_flows_give_the_same_bytes_in_any_order(tmp_path, folder):
    day = made_up_day(1, 200, SCHEMA)
    mixed = day.flows.take(np.random.default_rng(0).permutation(len(day.flows)))
    build_dataset([dataset.Recorded(day.day, day.starts, day.hour_s, mixed)], tmp_path, SCHEMA)
    for path in tmp_path.glob("day-1-*"):
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_what_is_read_back_makes_the_same_file_again(folder, settings):
    days = load_days(settings, folder)
    arrow = days.table.arrow.filter(pa.array((days.days == "day-2") & (days.hours == "08")))
    assert compact_csv(arrow, SCHEMA) == (folder / "day-2-hour-08.csv.gz").read_bytes()


def test_detectors_see_the_numbers_that_the_meter_measured(folder, settings):
    day = made_up_day(3, 200, SCHEMA)
    measured = fit_preprocessor(FlowTable(day.flows, SCHEMA.id), SCHEMA).transform(day.flows)
    days = load_days(settings, folder)
    assert np.array_equal(days.matrix[days.days == "day-3"], measured, equal_nan=True)


def test_conforming_a_file_changes_nothing_but_empty_cells_to_missing(folder):
    text = gzip.decompress((folder / "day-1-hour-08.csv.gz").read_bytes()).decode()
    header, *lines = [line.split(",") for line in text.splitlines()]
    raw = pa.table({name: pa.array([line[place] for line in lines]) for place, name in enumerate(header)})
    conformed = conform(raw, SCHEMA, load_families(ROOT / "schema" / "families.yaml"), labelled=True)
    assert not conformed.rejected and set(conformed.changed) <= {"missing"}
    assert "flow_id" not in header and "community_id" not in header and header[-3:] == ["label", "activity", "tool"]


def test_the_folder_loads_into_the_store_with_its_splits(folder, settings, tmp_path):
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "schema").symlink_to(ROOT / "schema")
    report = run_etl(settings.model_copy(update={"workspace": workspace}), [folder])
    assert (report.dataset, report.schema_id, report.rejected.total()) == ("lab", "netwarden_flow", 0)
    assert report.stored is not None and report.stored.rows == {"train": 600, "validation": 200, "test": 200}


def test_the_counts_are_printed_by_label_and_day(tmp_path):
    text = str(build_dataset([made_up_day(day, 200, SCHEMA) for day in (1, 5)], tmp_path, SCHEMA)).splitlines()
    assert text[0].split() == ["day-1", "day-5"] and text[1].split()[0] == "benign"
    assert [line.split()[0] for line in text[2:-1]] == ["bot", "ddos", "port_scan"]
    assert text[-1].startswith("4 files, 0.") and text[-1].endswith("400 flows")


def test_an_earlier_build_is_replaced(tmp_path):
    (tmp_path / "day-9-hour-23.csv.gz").touch()
    build_dataset([made_up_day(1, 50, SCHEMA)], tmp_path, SCHEMA)
    assert {path.name for path in tmp_path.iterdir()} == {
        "dataset.yaml",
        "day-1-hour-08.csv.gz",
        "day-1-hour-09.csv.gz",
    }


def test_an_hour_of_many_flows_is_cut_into_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "ROWS_A_FILE", 60)
    build_dataset([made_up_day(1, 200, SCHEMA)], tmp_path, SCHEMA)
    assert (tmp_path / "day-1-hour-08-part-2.csv.gz").exists()


@pytest.mark.parametrize("limit", ["LARGEST_FILE_BYTES", "LARGEST_TOTAL_BYTES"])
def test_files_that_would_be_too_large_are_refused_before_anything_is_written(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(dataset, limit, 10_000)
    with pytest.raises(InputError, match=r"would take 0\.\d MB, the largest, day-1-hour-0\d.csv.gz, .* send less"):
        build_dataset([made_up_day(1, 200, SCHEMA)], tmp_path / "data", SCHEMA)
    assert not (tmp_path / "data").exists()


def test_two_recordings_of_one_day_are_refused(tmp_path):
    with pytest.raises(InputError, match="two of the recordings are of one day: day-1, day-1"):
        build_dataset([made_up_day(1, 50, SCHEMA)] * 2, tmp_path, SCHEMA)
