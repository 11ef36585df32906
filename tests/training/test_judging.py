"""`netwarden experiments` and `tune` on a slice of NSL-KDD, from the store to what they print and leave."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netwarden.cli import app
from netwarden.errors import ConfigError, NotFoundError
from netwarden.evaluation.looks import PAGE, record_look
from netwarden.params import IngestParams, Params, load_params
from netwarden.settings import load_settings
from netwarden.sources.etl import run_etl
from netwarden.training.candidate import Candidate
from netwarden.training.judging import judge_dataset
from netwarden.training.params_file import write_values
from tests.fixtures.data import ROOT

STEP = 60  # every 60th row: 2,100 training rows


@pytest.fixture(scope="module")
def workspace(nsl_kdd, tmp_path_factory):
    """A workspace with a slice in its store, and a folder `.git`: enough for looks."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(ROOT / "schema", folder / "schema")
    for name in ("dvc.yaml", "params.json"):
        shutil.copy(ROOT / name, folder / name)
    write_values(folder / "params.json", {"ingest.dataset": "nsl_kdd", "train.false_positive_budget": 0.01})
    (folder / ".git").mkdir()
    slices = folder / "slices"
    slices.mkdir()
    for name in ("KDDTrain+.txt", "KDDTest+.txt"):
        with gzip.open(nsl_kdd / f"{name}.gz", "rt") as file:
            (slices / name).write_text("".join(line for row, line in enumerate(file) if row % STEP == 0))
    run_etl(load_settings({}, start=folder), [slices], dataset="nsl_kdd", schema="nsl_kdd")
    return folder


def _environment(workspace):
    return {"NETWARDEN_WORKSPACE": str(workspace), "NETWARDEN_HOME": "", "MONGODB_URI": "", "URI": ""}


def experiments(workspace, *arguments: str) -> str:
    said = CliRunner().invoke(app, ["experiments", *arguments], env=_environment(workspace))
    assert said.exit_code == 0, said.output
    return said.stdout


def test_the_official_split_is_one_table_with_both_test_sets_and_its_look_is_kept(workspace):
    told = experiments(workspace, "official", "--detector", "decision_tree", "--seeds", "1", "--budget", "0.05")
    rows = [line.split(" | ")[:2] for line in told.splitlines() if line.startswith("| ")][2:]
    models = ["decision_tree", "majority", "best feature", "logistic_regression"]
    assert {(held_out.strip("| "), model) for held_out, model in rows} == {
        *((held_out, model) for held_out in ("-", "kddtest_21") for model in models),
        ("random split: misleading", "decision_tree"),
    }
    lines = (workspace / PAGE).read_text().splitlines()
    assert "| nsl_kdd | experiments official: decision_tree, 1 seeds, budget 0.01 | accuracy 0." in lines[-1]


def test_who_is_about_to_look_is_told_how_often_that_was_done(workspace, monkeypatch):
    record_look(workspace, datetime.now(UTC), "abc", "nsl_kdd", "bundle", {"accuracy": 0.5})
    said: list[str] = []
    monkeypatch.setattr("netwarden.training.judging.MOST_LOOKS", 1)
    monkeypatch.setattr("netwarden.training.judging.run_protocol", lambda *_, **__: sys.exit("not looked"))
    with pytest.raises(SystemExit, match="not looked"):
        judge_dataset(
            load_settings(_environment(workspace)), "official", Candidate(detector="decision_tree"), 1, said.append
        )
    assert re.match(r"nsl_kdd: [12] looks at its test rows with different figures so far, 1 at most", said[0])
    assert said[1].endswith("this look is one too many; its table is not to be published")


def test_families_are_left_out_without_a_look_at_the_test_set(workspace):
    before = (workspace / PAGE).read_text() if (workspace / PAGE).exists() else ""
    told = experiments(workspace, "leave-family-out", "--detector", "decision_tree", "--seeds", "1")
    assert "| dos | decision_tree |" in told and "| probe | majority |" in told
    assert ((workspace / PAGE).read_text() if (workspace / PAGE).exists() else "") == before


def test_resampling_is_one_table_without_a_look_at_the_test_set(workspace):
    before = (workspace / PAGE).read_text() if (workspace / PAGE).exists() else ""
    said = CliRunner().invoke(
        app, ["resampling", "--detector", "decision_tree", "--seeds", "1"], env=_environment(workspace)
    )
    assert (
        said.exit_code == 0
        and "| class_weights |" in said.stdout
        and "decision_tree at a budget of 1.0%" in said.stdout
    )
    assert ((workspace / PAGE).read_text() if (workspace / PAGE).exists() else "") == before


def test_a_detector_crosses_from_one_published_dataset_to_the_log_of_another_sensor(
    workspace, cic_ids2017, sensor_logs
):
    settings = load_settings({}, start=workspace)
    run_etl(settings, [cic_ids2017 / "machine_learning_cve_sample.csv.gz"], dataset="cic")
    run_etl(settings, [sensor_logs / "zeek_iot23_conn.log.labeled.gz"], dataset="iot23")
    arguments = ["cross-dataset", "--dataset", "cic", "--judged-by", "iot23", "--detector", "decision_tree"]
    told = experiments(workspace, *arguments, "--seeds", "1")
    assert "by the 5 features that both have (flow_duration_us = duration_s, " in told
    rows = [line.split(" | ")[:2] for line in told.splitlines() if line.startswith("| ")][2:]
    assert {held_out.strip("| ") for held_out, _ in rows} == {"iot23", "at home", "random split: misleading"}
    assert ["| iot23", "majority"] in rows and ["| at home", "best feature"] in rows
    lines = (workspace / PAGE).read_text().splitlines()
    assert "| iot23 | experiments cross-dataset from cic: decision_tree, 1 seeds" in lines[-1]


def test_a_second_dataset_goes_with_the_protocol_that_has_one(workspace):
    for arguments in (["cross-dataset"], ["official", "--judged-by", "iot23"]):
        said = CliRunner().invoke(app, ["experiments", *arguments], env=_environment(workspace))
        assert said.exit_code == 2 and "--judged-by names the second dataset" in said.output


@pytest.mark.slow
def test_tuning_stops_at_an_interrupt_goes_on_and_writes_the_best(workspace):
    command = [
        str(Path(sys.executable).with_name("netwarden")),
        "tune",
        "--detector",
        "decision_tree",
        "--minutes",
        "5",
    ]
    environment = {**os.environ, **_environment(workspace)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
        try:
            assert run.stderr and next(line for line in run.stderr if line.startswith("trial 0: unseen recall"))
            run.send_signal(signal.SIGINT)
            told, errors = run.communicate(timeout=120)
        finally:
            run.kill()
    assert run.returncode == 0, errors
    assert "stopped; the same command goes on" in errors and "in MLflow at sqlite:" in errors
    assert "nsl_kdd-decision_tree.sqlite: " in told and "best: trial " in told
    before = (workspace / "params.json").read_text().splitlines()
    said = CliRunner().invoke(
        app, ["tune", "--detector", "decision_tree", "--trials", "1", "--write"], env=_environment(workspace)
    )
    assert said.exit_code == 0, said.output
    (leaf,) = re.findall(r"min_samples_leaf = (\d+)", said.stdout)
    assert load_params(workspace / "params.json").decision_tree.min_samples_leaf == int(leaf)
    after = (workspace / "params.json").read_text().splitlines()
    assert sum(line != old for line, old in zip(after, before, strict=True)) <= 1


def test_another_file_of_parameters_names_its_dataset_and_leaves_params_json_alone(workspace, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"ingest": {"dataset": "lab"}, "train": {"detector": "decision_tree"}}')
    with pytest.raises(NotFoundError, match=r"ETL\.py --dataset lab"):
        judge_dataset(load_settings({}, start=workspace), "official", Candidate(params_file=mine), 1)
    told = experiments(workspace, "official", "--params", str(mine), "--dataset", "nsl_kdd", "--seeds", "1")
    assert "| decision_tree |" in told
    look = (workspace / PAGE).read_text().splitlines()[-1]
    assert re.search(
        r"\| experiments official: decision_tree, 1 seeds, parameters of mine\.json \([0-9a-f]{8}\), ", look
    )
    before = (workspace / "params.json").read_bytes()
    said = CliRunner().invoke(
        app,
        ["tune", "--params", str(mine), "--dataset", "nsl_kdd", "--trials", "1", "--write"],
        env=_environment(workspace),
    )
    assert said.exit_code == 0, said.output
    assert "nsl_kdd-decision_tree-mine.sqlite: " in said.stdout
    assert f"section decision_tree of {mine} now has them" in said.stdout
    assert load_params(mine).ingest.dataset == "lab" and "decision_tree" in mine.read_text()
    assert (workspace / "params.json").read_bytes() == before
    said = CliRunner().invoke(app, ["experiments", "official", "--params", str(tmp_path / "no.json")])
    assert said.exit_code == 2 and "--params" in said.output


def test_the_published_form_for_nsl_kdd_is_the_default():
    assert load_params(ROOT / "config/nsl_kdd.json") == Params(ingest=IngestParams(dataset="nsl_kdd"))


def test_a_dataset_that_was_never_loaded_is_named(workspace):
    with pytest.raises(NotFoundError, match=r"ETL\.py --dataset lab"):
        judge_dataset(load_settings({}, start=workspace), "official", Candidate("lab", "decision_tree"), 1)
    said = CliRunner().invoke(app, ["tune", "--dataset", "lab"], env=_environment(workspace))
    assert isinstance(said.exception, NotFoundError)


def test_a_study_whose_name_would_lead_elsewhere_is_refused(workspace):
    said = CliRunner().invoke(app, ["tune", "--study", "../x"], env=_environment(workspace))
    assert isinstance(said.exception, ConfigError) and "--study names a file" in str(said.exception)
