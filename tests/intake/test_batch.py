"""`netwarden batch`: files in, scores out."""

import csv
import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from netwarden.errors import InputError, SchemaError
from netwarden.scoring.batch import score_file
from netwarden.scoring.intake import sample_npy


@pytest.fixture
def flows_csv(bare, tmp_path):
    pacsv.write_csv(bare, tmp_path / "flows.csv")
    return tmp_path / "flows.csv"


def test_scores_are_written_as_parquet_csv_and_json_lines(settings, model, bare, flows_csv, tmp_path):
    expected = model.score(bare)
    for name in ("scores.parquet", "scores.csv", "scores.jsonl"):
        report = score_file(settings, flows_csv, tmp_path / name)
        assert report.rows == 200
        assert report.rejected_file is None
    result = pq.read_table(tmp_path / "scores.parquet")
    assert result.select(expected.column_names).equals(expected)
    assert result["row"].to_pylist() == list(range(200))
    intrusion = [-1 if verdict != "benign" else 0 for verdict in expected["verdict"].to_pylist()]
    assert result["prediction"].to_pylist() == intrusion
    assert pacsv.read_csv(tmp_path / "scores.csv")["score"].to_pylist() == expected["score"].to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert lines == result.to_pylist()


def test_rejected_rows_are_listed_beside_the_scores_and_counted(settings, flows_csv, tmp_path):
    lines = flows_csv.read_text().splitlines(keepends=True)
    lines[4] = "-5" + lines[4][lines[4].index(",") :]
    lines[7] = "1,2\n"
    with gzip.open(tmp_path / "flows.csv.gz", "wt") as file:
        file.writelines(lines)
    report = score_file(settings, tmp_path / "flows.csv.gz", tmp_path / "scores.parquet")
    assert report.rows == 198
    assert report.rejected == {"duration: out of range": 1, "2 columns instead of 41": 1}
    assert report.rejected_file is not None
    with report.rejected_file.open() as file:
        rejected = list(csv.DictReader(file))
    assert [(item["row"], item["line"], item["reason"]) for item in rejected] == [
        ("3", "5", "duration: out of range"),
        ("6", "8", "2 columns instead of 41"),
    ]
    assert report.rejected_file.name == "scores.parquet.rejected.csv"
    rows = pq.read_table(tmp_path / "scores.parquet")["row"].to_pylist()
    assert rows == [row for row in range(200) if row not in (3, 6)]
    assert "2 rows rejected, listed in" in str(report)
    score_file(settings, flows_csv, tmp_path / "scores.parquet")
    assert not report.rejected_file.exists()  # it told of the earlier run


def test_arrays_are_read_with_the_codes_of_the_bundle(settings, model, bare, tmp_path):
    codes = model.category_codes()
    columns = [
        [codes[name][value] for value in bare[name].to_pylist()] if name in codes else bare[name].to_pylist()
        for name in bare.column_names
    ]
    np.save(tmp_path / "flows.npy", np.array(columns, float).T)
    score_file(settings, tmp_path / "flows.npy", tmp_path / "scores.parquet")
    assert pq.read_table(tmp_path / "scores.parquet")["score"].equals(model.score(bare)["score"])


def test_values_that_training_never_saw_are_counted_in_the_report(settings, nsl_schema, tmp_path):
    array = sample_npy(nsl_schema)
    array[:2, 2] = -1
    np.save(tmp_path / "flows.npy", array)
    report = score_file(settings, tmp_path / "flows.npy", tmp_path / "scores.csv")
    assert report.unknown == {"service": 2}
    assert "2 values of service that training never saw" in str(report)


def test_progress_ends_at_the_whole(settings, flows_csv, tmp_path):
    seen: list[float] = []
    score_file(settings, flows_csv, tmp_path / "scores.csv", progress=seen.append)
    assert seen[-1] == 1.0


def test_a_run_that_fails_leaves_the_earlier_scores_and_no_draft(settings, flows_csv, tmp_path):
    target = tmp_path / "out" / "scores.csv"
    target.parent.mkdir()
    score_file(settings, flows_csv, target)
    before = target.read_bytes()
    whole = gzip.compress(flows_csv.read_bytes() * 300)
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        score_file(settings, tmp_path / "cut.csv.gz", target)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["scores.csv"]


def test_targets_and_sources_that_cannot_be_are_refused(settings, flows_csv, tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    cases = [
        (flows_csv, tmp_path / "scores.xlsx", InputError, "scores are written as .parquet, .csv, .jsonl"),
        (tmp_path / "absent.csv", tmp_path / "scores.csv", InputError, "absent.csv is not there"),
        (flows_csv, tmp_path / "none" / "scores.csv", InputError, "the folder .*none is not there"),
        (flows_csv, flows_csv, InputError, "is the input itself"),
        (tmp_path / "other.csv", tmp_path / "scores.csv", SchemaError, "is this file in another schema"),
    ]
    for source, target, error, message in cases:
        with pytest.raises(error, match=message):
            score_file(settings, source, target)


@pytest.mark.slow
def test_a_long_file_takes_no_more_memory_than_a_short_one(settings, bare, tmp_path):
    """Peak memory of a fresh process, with 66 and with 330 thousand rows (120 MB as a table)."""
    code = (
        "import sys, resource; from pathlib import Path; from netwarden.settings import load_settings;"
        "from netwarden.scoring.batch import score_file;"
        "score_file(load_settings(), Path(sys.argv[1]), Path(sys.argv[2]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    places = {"NETWARDEN_WORKSPACE": str(settings.workspace), "NETWARDEN_HOME": str(settings.home)}
    peaks_mb = []
    for copies in (330, 1650):
        pq.write_table(pa.concat_tables([bare] * copies), tmp_path / "flows.parquet", row_group_size=50_000)
        command = [sys.executable, "-c", code, tmp_path / "flows.parquet", tmp_path / "scores.parquet"]
        run = subprocess.run(command, env=os.environ | places, capture_output=True, text=True, check=True)
        peaks_mb.append(int(run.stdout) / 1024)
    assert peaks_mb[1] - peaks_mb[0] < 70, peaks_mb
