"""Training from the portal: the form of parameters, the queue, and what runs came to."""

import json
import shutil
import sys
import time
from contextlib import contextmanager

import pytest

from netwarden import jobs
from netwarden.errors import ConfigError
from netwarden.params import load_params
from netwarden.portal.runs.pages import RunEntry, RunList
from netwarden.portal.runs.queue import enqueue, start_next, waiting
from netwarden.portal.runs.runs import KIND
from netwarden.stages.run_record import change_params
from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, portal_settings

HTML = {"Accept": "text/html"}


@pytest.fixture
def house(tmp_path):
    """A portal over a workspace of its own that holds parameters and no data: its runs fail at once."""
    for name in ("params.json", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "schema", tmp_path / "schema")
    settings = portal_settings(tmp_path).model_copy(update={"workspace": tmp_path})
    with listening(settings) as portal:
        yield portal


@contextmanager
def under_way(settings):
    """A run that goes on until the block ends."""
    job = jobs.start(settings.home, KIND, [sys.executable, "-c", "import time; time.sleep(60)"], settings.workspace)
    try:
        yield job
    finally:
        job.cancel()
        job.wait(20)


def finished(settings, folder_of, **results):
    """A run that has ended, with what it left behind."""
    job = jobs.start(settings.home, KIND, ["true"], settings.workspace)
    job.wait(20)
    params = json.loads((ROOT / "params.json").read_text())
    params["train"] |= folder_of
    (job.folder / "params.json").write_text(json.dumps(params))
    if results:
        plots = job.folder / "results" / "plots"
        plots.mkdir(parents=True)
        (plots / "roc.csv").write_text("x,y,family\n0,0,dos\n1,1,dos\n0,0,probe\n")
        (plots / "confusion.csv").write_text("actual,predicted\ndos,dos\ndos,benign\nbenign,benign\n")
        (job.folder / "results" / "metrics.json").write_text(json.dumps({"test": results}))
        receipt = {"bundle_id": "0123456789abcdef", "champion": True, "why": "first", "run_id": "ab" * 16}
        (job.folder / "results" / "receipt.json").write_text(json.dumps(receipt))
    return job


def test_the_form_has_each_parameter_with_help_bounds_and_choices(house):
    stated = {each["name"]: each for each in house.client.get("/api/v1/runs/parameters").json()}
    assert stated["train.seed"]["bounds"] == "≥ 0"
    assert stated["train.false_positive_budget"]["bounds"] == "> 0 and < 1"
    assert "smotenc" in stated["train.resample.method"]["choices"]
    assert "random_forest" in stated["train.detector"]["choices"]
    assert stated["random_forest.max_depth"]["nullable"] and stated["random_forest.max_depth"]["value"] is None
    page = house.client.get("/runs/new", headers=HTML)
    assert all(f'name="{name}"' in page.text for name in stated)
    assert len(page.content) < 200_000


def test_only_what_differs_from_params_json_is_handed_to_the_run(house):
    form = {each["name"]: _shown(each["value"]) for each in house.client.get("/api/v1/runs/parameters").json()}
    answer = house.client.post("/runs", data=form | {"train.seed": "8", "autoencoder.hidden": "32, 8, 32"})
    assert answer.status_code == 303, answer.text
    job = jobs.find(house.settings.home, KIND, answer.headers["location"].removeprefix("/runs/"))
    command = json.loads((job.folder / "job.json").read_text())["command"]
    assert {part for part in command if part.startswith("--set")} == {
        "--set=train.seed=8",
        "--set=autoencoder.hidden=[32, 8, 32]",
    }
    job.wait(60)


def _shown(value):
    if isinstance(value, bool):
        return json.dumps(value)
    return "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train.seed": -1}, "'train.seed': Input should be greater than or equal to 0"),
        ({"train.sead": 1}, "'train.sead' is no parameter"),
        ({"train.seed": "many"}, "'train.seed': Input should be a valid integer"),
    ],
)
def test_a_change_that_params_json_would_refuse_starts_nothing_and_is_named(house, changes, said):
    refused = house.client.post("/api/v1/runs", json={"changes": changes})
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
    assert (
        house.client.post("/runs", data={"train.seed": "many"}).json()["detail"].startswith("train.seed: 'many' is no")
    )
    assert jobs.recent(house.settings.home, KIND) == []


def test_a_second_run_is_refused_or_waits_and_a_waiting_one_can_be_taken_back(house):
    with under_way(house.settings) as job:
        refused = house.client.post("/api/v1/runs", json={})
        assert (refused.status_code, job.id in refused.json()["detail"]) == (409, True)
        asked = {"changes": {"train.seed": 9}, "wait": True}
        entry = house.client.post("/api/v1/runs", json=asked).json()["waiting"]
        assert entry["changes"] == {"train.seed": 9}
        page = house.client.get("/runs", headers=HTML).text
        assert "train.seed" in page and entry["id"] in page
        left = house.client.post(f"/api/v1/runs/waiting/{entry['id']}/cancel")
        assert (left.status_code, left.json()) == (200, [])
        assert house.client.post(f"/runs/waiting/{entry['id']}/cancel").status_code == 404


def test_the_next_of_the_queue_starts_when_nothing_runs_any_more(tmp_path):
    shutil.copy(ROOT / "params.json", tmp_path / "params.json")
    settings = portal_settings(tmp_path).model_copy(update={"workspace": tmp_path})
    with under_way(settings):
        for seed in (5, 6):
            enqueue(settings, {"train.seed": seed}, "ada")
        assert start_next(settings) is None
    job = start_next(settings)
    assert job is not None and "--set=train.seed=5" in (job.folder / "job.json").read_text()
    assert [entry.changes for entry in waiting(settings)] == [{"train.seed": 6}]
    job.wait(60)


def test_a_portal_starts_what_waits_by_itself(house):
    with under_way(house.settings):
        house.client.post("/api/v1/runs", json={"wait": True})
    deadline = time.monotonic() + 10
    while len(jobs.recent(house.settings.home, KIND)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    jobs.recent(house.settings.home, KIND)[0].wait(60)


def test_runs_stand_with_figures_plots_and_the_parameters_they_changed(house):
    first = finished(house.settings, {"seed": 1}, recall=0.9, f1=0.8)
    second = finished(house.settings, {"seed": 2}, recall=0.95, f1=0.9)
    found = RunList.model_validate(house.client.get("/api/v1/runs").json())
    newest = next(entry for entry in found.runs if entry.run.id == second.id)
    assert newest.results.metrics == {"recall": 0.95, "f1": 0.9}
    assert newest.results.plots == ["Confusion", "ROC per family"]
    one = RunEntry.model_validate(house.client.get(f"/api/v1/runs/{newest.run.id}").json())
    assert one.results.bundle_id == "0123456789abcdef"
    diff = house.client.get("/api/v1/runs/diff", params={"a": first.id, "b": second.id}).json()
    assert diff == [{"name": "train.seed", "before": 1, "after": 2}]
    page = house.client.get(f"/runs?a={first.id}&b={second.id}", headers=HTML)
    assert "Two runs" in page.text and "train.seed" in page.text
    assert house.client.get(f"/runs/{newest.run.id}", headers=HTML).text.count('class="chart') == 1  # and a table
    roc = house.client.get(f"/api/v1/runs/{first.id}/plots/ROC per family").json()
    assert [line["name"] for line in roc["data"]] == ["dos", "probe"]
    heat = house.client.get(f"/api/v1/runs/{first.id}/plots/Confusion").json()["data"][0]
    assert (heat["y"], heat["x"], heat["z"]) == (["benign", "dos"], ["benign", "dos"], [[1, 0], [0.5, 0.5]])
    assert house.client.get(f"/api/v1/runs/{first.id}/plots/none").status_code == 404


def test_changes_go_into_params_json_and_a_refused_one_leaves_it_alone(tmp_path):
    shutil.copy(ROOT / "params.json", tmp_path / "params.json")
    settings = portal_settings(tmp_path).model_copy(update={"workspace": tmp_path})
    change_params(settings, ["train.seed=8", "train.detector=random_forest", "autoencoder.hidden=[8, 4, 8]"])
    params = load_params(tmp_path / "params.json")
    assert (params.train.seed, params.train.detector, params.autoencoder.hidden) == (8, "random_forest", (8, 4, 8))
    before = (tmp_path / "params.json").read_text()
    for bad, said in (("train.seed=-1", "greater than or equal to 0"), ("seed", "changes no parameter")):
        with pytest.raises(ConfigError, match=said):
            change_params(settings, [bad])
    assert (tmp_path / "params.json").read_text() == before
