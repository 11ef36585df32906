"""`netwarden batch --engine spark`: the scores of the local engine, each row once, whatever was killed."""

import os
import signal
import sys
import time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from netwarden.cli import app
from netwarden.errors import ConfigError, InputError, SchemaError
from netwarden.scoring.batch import score_file
from netwarden.scoring.lake import Form, require_fit, with_defaults
from netwarden.scoring.lake_rows import RowReader
from netwarden.scoring.lake_units import require_apart
from netwarden.scoring.spark import session
from netwarden.sources.text_layout import layout_of_start
from tests.intake.conftest import bare, empty_settings, model, settings
from tests.spark.running import finished, require_spark, started

__all__ = ["bare", "empty_settings", "model", "settings"]

JUDGED = ["score", "verdict", "family", "threshold", "prediction"]


@pytest.fixture
def lake(bare, tmp_path):
    """Three days of Parquet, two files each and one of them a single row group, and a fourth of dirty CSV."""
    folder = tmp_path / "lake"
    for day in (1, 2, 3):
        (folder / f"day=2018-02-1{day}").mkdir(parents=True)
        for part in range(2):
            rows = bare.slice(30 * day + 15 * part, 15)
            pq.write_table(rows, folder / f"day=2018-02-1{day}" / f"{part}.parquet", row_group_size=5 if part else 100)
    dirty = folder / "day=2018-02-14"
    dirty.mkdir()
    pacsv.write_csv(bare.slice(150, 50), dirty / "flows.csv")
    lines = (dirty / "flows.csv").read_text().splitlines(keepends=True)
    lines[5] = "1,2\n"
    lines[9] = "-5" + lines[9][lines[9].index(",") :]
    lines.insert(20, lines[0])  # as CSE-CIC-IDS2018 does
    (dirty / "flows.csv").write_text("".join(lines))
    (folder / "README.md").write_text("no flows")
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)  # a loaded machine starts JVMs slowly
def test_a_lake_scores_as_its_files_do_each_row_once_though_the_driver_was_killed(settings, lake, tmp_path):
    require_spark()
    target = tmp_path / "out"
    run = started(settings, "batch", lake, target, "--where", "day > '2018-02-11'")
    deadline = time.monotonic() + 600
    while not list(target.glob("_netwarden/done/*.json")) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.poll() is None, run.communicate()[1]
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    done = list(target.glob("_netwarden/done/*.json"))
    assert 1 <= len(done) < 3
    (target / "scores" / "0123456789abcdef-00000.parquet").write_bytes(b"left by a driver that was killed")

    told = finished(settings, "batch", lake, target, "--where", "day > '2018-02-11'")
    assert "holds 108 flows scored" in told and "2 files of other partitions were not opened" in told
    assert "1 files are no flow tables, such as README.md" in told
    scores = pq.read_table(target / "scores", partitioning=ds.partitioning(flavor="hive"))
    keys = list(zip(scores["file"].to_pylist(), scores["row"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys) == 108
    for file in [*sorted(lake.rglob("*.parquet"))[2:], lake / "day=2018-02-14" / "flows.csv"]:
        score_file(settings, file, tmp_path / "local.parquet")
        mine = scores.filter(pc.equal(scores["file"], f"file:{file}")).sort_by("row")
        assert mine.select(JUDGED).equals(pq.read_table(tmp_path / "local.parquet").select(JUDGED)), file
        assert set(mine["day"].to_pylist()) == {file.parent.name.removeprefix("day=")}
    quarantine = pq.read_table(target / "quarantine" / "day=2018-02-14")
    assert sorted(quarantine["reason"].to_pylist()) == ["2 columns instead of 41", "duration: out of range"]
    assert "1,2" in quarantine["text"].to_pylist()

    assert "0 of them now" in finished(settings, "batch", lake, target, "--where", "day > '2018-02-11'")


def test_lines_of_text_are_read_as_files_are(nsl_schema, lake):
    data = (lake / "day=2018-02-14" / "flows.csv").read_bytes()
    reader = RowReader(nsl_schema, layout_of_start("flows.csv", data, nsl_schema))
    lines = data.splitlines()
    given = pa.table({"file": ["f"] * len(lines), "row": range(100, 100 + len(lines)), "value": lines})
    fit, origin, rejected = reader.read(given)
    assert origin["row"].to_pylist() == [row for row in range(101, 152) if row not in (105, 109, 120)]
    assert fit.table.arrow.num_rows == 48
    assert rejected.select(["row", "reason"]).to_pylist() == [
        {"row": 109, "reason": "duration: out of range"},
        {"row": 105, "reason": "2 columns instead of 41"},
    ]


def test_files_of_another_schema_and_targets_inside_the_lake_are_refused_before_anything_is_read(nsl_schema):
    with pytest.raises(SchemaError, match=r"s3a://lake/1\.parquet lacks 40 columns of schema nsl_kdd: protocol_type"):
        require_fit("s3a://lake/1.parquet", Form(("duration", "other")), nsl_schema)
    names = tuple(column.name for column in nsl_schema.features)
    with pytest.raises(SchemaError, match="lacks 1 columns"):
        require_fit("s3a://lake/1.parquet", Form(names), nsl_schema, labelled=True)
    for target in ("s3a://lake", "s3a://lake/scores"):
        with pytest.raises(InputError, match="would be read as flows next time"):
            require_apart("s3a://lake", target)
    require_apart("s3a://lake", "s3a://lake2")


def test_json_lines_are_left_to_the_local_engine(nsl_schema):
    with pytest.raises(InputError, match=r"eve\.json holds JSON lines, which the local engine reads"):
        layout_of_start("s3a://lake/eve.json", b'{"event_type": "flow"}\n', nsl_schema)


def test_without_pyspark_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(ConfigError, match=r"install netwarden\[spark\]"), session({}):
        pass


def test_options_of_one_engine_are_refused_by_the_other(settings, bare, tmp_path, monkeypatch):
    monkeypatch.setenv("NETWARDEN_WORKSPACE", str(settings.workspace))
    monkeypatch.setenv("NETWARDEN_HOME", str(settings.home))
    for arguments, why in (
        (["batch", "in", "out", "--engine", "spark", "--explain", "3"], "explains no alerts"),
        (["batch", "in", "out.csv", "--where", "day > 1"], "are for --engine spark"),
        (["batch", "in", "out", "--engine", "spark", "--conf", "spark.master"], "write NAME=VALUE"),
        (["pipeline", "lake"], "trains on the store"),
        (["pipeline", "lake", "--engine", "spark"], "by --work"),
    ):
        assert why in str(CliRunner().invoke(app, arguments).exception)


def test_a_session_without_a_cluster_stays_on_this_machine():
    alone = with_defaults({}, lambda _: False)
    assert alone["spark.master"] == "local[*]" and alone["spark.driver.bindAddress"] == "127.0.0.1"
    submitted = with_defaults({"spark.executor.memory": "4g"}, lambda name: name == "spark.master")
    assert "spark.driver.host" not in submitted and submitted["spark.executor.memory"] == "4g"
