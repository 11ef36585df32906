"""Runs reach a real MLflow server that asks for a password, and wait for it when it is away."""

import json
import socket
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netwarden.errors import TrackingError
from netwarden.settings import load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from netwarden.training.tracking import (
    RunRecord,
    local_tracking_uri,
    mirror_champion,
    mirror_champions,
    sync,
    track_run,
    track_runs,
)
from tests.fixtures.servers import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def record(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/bundle.json").write_text("{}")
    (tmp_path / "evaluation/plots").mkdir(parents=True)
    (tmp_path / "evaluation/plots/roc.csv").write_text("x,y\n0,0\n")
    now = time.time_ns() // 1_000_000
    return RunRecord(
        key=f"{tmp_path.name}-1",
        name="toy-run",
        experiment="toys",
        schema_id=tmp_path.name,
        bundle_id="0123456789abcdef",
        champion=True,
        started_ms=now,
        ended_ms=now,
        params={"train.seed": "7"},
        metrics={"test.f1": 0.9, "test.family_recall.C&C": 0.5},
        tags={"mlflow.source.git.commit": "c0ffee"},
        dataset={"name": "toy", "digest": "abc", "source": "a store", "profile": "{}"},
        artifacts={"bundle": str(tmp_path / "bundle"), "evaluation": str(tmp_path / "evaluation")},
    )


def settings_of(folder, **environment):
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/netwarden.yaml").write_text("tracking: {timeout_s: 2}\n")
    return load_settings({"NETWARDEN_WORKSPACE": str(folder), **environment})


def runs_at(address, record, monkeypatch=None):
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(record.experiment)
    found = client.search_runs([experiment.experiment_id], f"tags.`netwarden.key` = '{record.key}'")
    return client, list(found)


@pytest.fixture
def signed_in(dagshub, monkeypatch):
    """The test's own MLflow client may look at the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", dagshub.token)
    return dagshub


def test_a_run_that_made_no_bundle_is_no_version_of_a_model(record, tmp_path):
    settings = settings_of(tmp_path)
    (tracked,) = track_runs(settings, [replace(record, bundle_id="", artifacts={})])
    client, (run,) = runs_at(local_tracking_uri(settings), record)
    assert run.info.run_id == tracked.run_id and run.info.status == "FINISHED"
    assert client.search_registered_models() == [] and track_runs(settings, []) == []


def test_a_run_reaches_the_server_once_however_often_it_is_logged(signed_in, record, tmp_path):
    settings = settings_of(tmp_path, **signed_in.environment())
    first = track_run(settings, record)
    assert (first.address, first.kept) == (signed_in.tracking, "")
    assert track_run(settings, record) == first
    client, (run,) = runs_at(signed_in.tracking, record)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"train.seed": "7"}
    assert run.data.metrics == {"test.f1": 0.9, "test.family_recall.C_C": 0.5}
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert [item.path for item in client.list_artifacts(run.info.run_id, "evaluation/plots")] == [
        "evaluation/plots/roc.csv"
    ]
    assert client.get_model_version_by_alias(f"netwarden-{record.schema_id}", "champion").run_id == run.info.run_id


def test_with_nothing_configured_a_run_goes_to_the_local_store(record, tmp_path):
    settings = settings_of(tmp_path)
    tracked = track_run(settings, record)
    assert tracked.address == local_tracking_uri(settings)
    _, (run,) = runs_at(tracked.address, record)
    assert run.info.run_id == tracked.run_id
    with pytest.raises(TrackingError, match="nothing to sync with"):
        sync(settings)


@pytest.mark.parametrize("away", ["closed", "silent"])
def test_a_dead_server_delays_a_run_by_its_timeout_at_most_and_sync_uploads_it_later(signed_in, record, tmp_path, away):
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        port = hole.getsockname()[1] if away == "silent" else free_port()
        dead = settings_of(tmp_path, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        track_run(settings_of(tmp_path), replace(record, key="warm-up"))  # the local store is made, MLflow imported
        started = time.monotonic()
        kept = track_run(dead, record)
        assert time.monotonic() - started < dead.tracking.timeout_s + 3
        assert kept.address == local_tracking_uri(dead)
        assert f"http://127.0.0.1:{port} " in kept.kept
        with pytest.raises(TrackingError, match=r"1 run\(s\) stay kept"):
            sync(dead)
    alive = settings_of(tmp_path, **signed_in.environment())
    (tmp_path / "evaluation/plots/roc.csv").unlink()  # the next run of the pipeline has replaced it
    assert sync(alive).uploaded == ("toy-run",)
    assert sync(alive).uploaded == ()
    client, (run,) = runs_at(signed_in.tracking, record)
    assert run.info.status == "FINISHED"
    assert client.list_artifacts(run.info.run_id, "evaluation/plots")


def test_an_upload_that_was_cut_short_is_completed_and_not_repeated(signed_in, record, tmp_path):
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    client = MlflowClient(signed_in.tracking)
    found = client.get_experiment_by_name(record.experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(record.experiment)
    begun = client.create_run(experiment_id, tags={"netwarden.key": record.key})
    tracked = track_run(settings_of(tmp_path, **signed_in.environment()), record)
    assert tracked.run_id == begun.info.run_id
    _, (run,) = runs_at(signed_in.tracking, record)
    assert run.data.metrics["test.f1"] == 0.9


def test_a_wrong_token_keeps_the_run_and_says_why(dagshub, record, tmp_path, caplog):
    settings = settings_of(tmp_path, **dagshub.environment(token="a-wrong-token-altogether"))
    kept = track_run(settings, record)
    assert "refuses the credentials of user ada (HTTP 401)" in kept.kept
    assert "netwarden track sync" in caplog.text
    assert "a-wrong-token" not in caplog.text + kept.kept


def test_the_alias_follows_the_registry(signed_in, record, tmp_path):
    settings = settings_of(tmp_path, **signed_in.environment())
    track_run(settings, record)
    other = replace(record, key=f"{record.key}b", bundle_id="fedcba9876543210", champion=False)
    track_run(settings, other)
    client, (run,) = runs_at(signed_in.tracking, other)
    model = f"netwarden-{record.schema_id}"
    assert client.get_model_version_by_alias(model, "challenger").run_id == run.info.run_id
    entry = BundleEntry(other.bundle_id, record.schema_id, other.bundle_id, datetime.now(UTC))
    mirror_champion(settings, entry)
    assert client.get_model_version_by_alias(model, "champion").run_id == run.info.run_id
    with closing(open_registry(settings)) as registry:
        registry.register(replace(entry, bundle_id=record.bundle_id), who="test", why="test")
        registry.promote(record.bundle_id, who="test", why="test")
    assert sync(settings).champions == (f"{model}: {record.bundle_id}",)
    assert client.get_model_version_by_alias(model, "champion").tags["bundle_id"] == record.bundle_id
    with closing(open_registry(settings)) as registry:  # as the portal does it, which then starts the mirror
        registry.register(entry, who="test", why="test")
        registry.promote(entry.bundle_id, who="test", why="test")
    assert mirror_champions(settings) == (f"{record.schema_id}: {entry.bundle_id}",)
    assert client.get_model_version_by_alias(model, "champion").tags["bundle_id"] == entry.bundle_id


def test_a_promotion_succeeds_while_the_server_is_away(record, tmp_path, caplog):
    settings = settings_of(tmp_path, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    mirror_champion(settings, BundleEntry("0123456789abcdef", "toy", "0123456789abcdef", datetime.now(UTC)))
    assert "`netwarden track sync` moves it" in caplog.text


def test_kept_runs_hold_no_secret(record, tmp_path):
    environment = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}", "DAGSHUB_TOKEN": "very-secret-token"}
    settings = settings_of(tmp_path, **environment)
    track_run(settings, record)
    (kept,) = settings.home.rglob("record.json")
    assert "very-secret-token" not in kept.read_text()
    assert json.loads(kept.read_text())["metrics"]["test.f1"] == 0.9
