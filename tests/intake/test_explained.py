"""`netwarden batch --explain`: the reasons of alerts stand beside their scores, in every format and on the terminal."""

import json

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from netwarden.cli import app
from netwarden.scoring.batch import score_file
from tests.fixtures.data import ROOT
from tests.intake.conftest import register


@pytest.fixture
def flows_csv(bare, tmp_path):
    pacsv.write_csv(bare, tmp_path / "flows.csv")
    return tmp_path / "flows.csv"


def test_alerts_and_they_alone_get_the_reasons_that_the_python_api_gives(settings, model, bare, flows_csv, tmp_path):
    score_file(settings, flows_csv, tmp_path / "scores.parquet", explain=3)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    expected = model.explain(bare, top=3)
    assert {row["why"] is None for row in rows} == {True, False}
    for row, reasons in zip(rows, expected, strict=True):
        if row["verdict"] == "benign":
            assert row["why"] is None
            continue
        assert [why["text"] for why in row["why"]] == [reason.text for reason in reasons]
        first, reason = row["why"][0], reasons[0]
        assert (first["part"], first["feature"], first["unit"]) == (reason.part, reason.feature, reason.unit)
        assert (first["value"], first["usual"]) == (str(reason.value), reason.usual)
        assert (first["share"], first["portion"]) == (reason.share, reason.portion)


def test_json_lines_hold_the_same_records_and_csv_their_sentences(settings, flows_csv, tmp_path):
    for name in ("scores.parquet", "scores.jsonl", "scores.csv"):
        score_file(settings, flows_csv, tmp_path / name, explain=2)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    assert [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()] == rows
    sentences = pacsv.read_csv(tmp_path / "scores.csv")["why"].to_pylist()
    assert sentences == [" | ".join(why["text"] for why in row["why"] or ()) for row in rows]


def test_without_being_asked_nothing_is_explained(settings, flows_csv, tmp_path):
    report = score_file(settings, flows_csv, tmp_path / "scores.parquet")
    assert "why" not in pq.read_schema(tmp_path / "scores.parquet").names and not report.highest


def test_the_command_tells_the_highest_alerts_with_both_kinds_of_evidence(
    empty_settings, hybrid_bundle, flows_csv, tmp_path, monkeypatch
):
    register(empty_settings, hybrid_bundle)
    monkeypatch.setenv("NETWARDEN_WORKSPACE", str(ROOT))
    monkeypatch.setenv("NETWARDEN_HOME", str(empty_settings.home))
    done = CliRunner().invoke(app, ["batch", str(flows_csv), str(tmp_path / "scores.jsonl"), "--explain", "8"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    alerts = sorted((row for row in rows if row["why"]), key=lambda row: (-row["score"], row["row"]))
    lines = done.output.splitlines()
    start = lines.index(f"the highest of {len(alerts)} alerts, all explained in column why:") + 1
    told = [line for line in lines[start:] if line.startswith("row ")]
    assert [line.partition(":")[0] for line in told] == [f"row {row['row']}" for row in alerts[:5]]
    assert lines[start + 1].split(maxsplit=1)[1] == alerts[0]["why"][0]["text"]
    assert {line.split()[0] for line in lines[start:]} == {"row", "supervised", "novelty"}


def test_a_file_without_alerts_has_an_empty_column_and_nothing_to_tell(settings, model, bare, tmp_path):
    calm = [verdict == "benign" for verdict in model.score(bare)["verdict"].to_pylist()]
    pq.write_table(bare.filter(calm), tmp_path / "calm.parquet")
    report = score_file(settings, tmp_path / "calm.parquet", tmp_path / "scores.parquet", explain=3)
    assert pq.read_table(tmp_path / "scores.parquet")["why"].null_count == report.rows == sum(calm)
    assert "alerts, all explained" not in str(report)


def test_a_negative_number_of_reasons_is_refused(flows_csv, tmp_path):
    done = CliRunner().invoke(app, ["batch", str(flows_csv), str(tmp_path / "scores.csv"), "--explain", "-1"])
    assert done.exit_code == 2 and "--explain" in done.output
