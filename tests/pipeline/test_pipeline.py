"""From a loaded store to a registered bundle by `dvc repro`, on a slice of NSL-KDD."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing

import httpx
import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.errors import BackupError, ConfigError, JobBusyError, NotFoundError
from netwarden.sources.connect import open_backup, open_lease, open_registry
from netwarden.sources.leases import TRAINING
from netwarden.stages.run import run_pipeline
from netwarden.training.remotes import pull_snapshots
from netwarden.training.tracking import local_tracking_uri
from tests.fixtures.container import confined, give_to, open_folder
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, script, serving
from tests.pipeline.conftest import commit, dvc, load_slices, make_workspace, run_git, settings_of

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]
METRICS = "data/pipeline/evaluate/metrics.json"
RECEIPT = "data/pipeline/register/receipt.json"


def receipt_of(workspace):
    return json.loads((workspace / RECEIPT).read_text())


def test_metrics_hold_every_promised_figure_of_both_test_sets(finished):
    figures = json.loads((finished / METRICS).read_text())
    assert list(figures) == ["test", "kddtest_21"]
    for facts in figures.values():
        for name in ("accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "false_positive_rate"):
            assert 0 <= facts[name] <= 1
        assert set(facts["family_recall"]) == {"dos", "probe", "r2l", "u2r"}
        assert facts["recall_seen_attacks"] > facts["recall_unseen_attacks"] > 0
        assert facts["false_alerts_per_day"] == round(facts["false_positive_rate"] * 1_000_000)
    assert figures["kddtest_21"]["rows"] < figures["test"]["rows"]
    assert figures["test"]["accuracy"] > 0.75


def test_the_bundle_is_champion_tracked_in_bentoml_and_backed_up(finished, tmp_path):
    receipt, settings = receipt_of(finished), settings_of(finished)
    bundle = load_bundle(settings.bundles_dir / receipt["bundle_id"])
    assert bundle.bundle_id == receipt["bundle_id"]
    with closing(open_registry(settings)) as registry:
        champion = registry.champion("nsl_kdd")
        assert champion is not None
        assert (champion.bundle_id, champion.run_id) == (bundle.bundle_id, receipt["run_id"])
        assert champion.metrics["test.accuracy"] > 0.75
        assert [event.why for event in registry.history()] == ["first bundle of schema nsl_kdd"] * 2
    backup = open_backup(settings)
    assert {key.split("/")[0] for key in backup.keys()} == {"bundles", "reports", "manifests"}  # noqa: SIM118
    restored = backup.get_folder(f"bundles/{bundle.bundle_id}", tmp_path / "restored")
    assert load_bundle(restored).bundle_id == bundle.bundle_id
    command = [sys.executable, "-m", "bentoml", "models", "list", "--output", "json"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [model["tag"] for model in json.loads(listed.stdout)] == [receipt["bentoml"]]


def test_the_mlflow_run_has_parameters_figures_dataset_artifacts_and_commit(finished):
    from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

    receipt, settings = receipt_of(finished), settings_of(finished)
    client = MlflowClient(local_tracking_uri(settings))
    run = client.get_run(receipt["run_id"])
    version = client.get_model_version_by_alias("netwarden-nsl_kdd", "champion")
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id, "evaluation/plots")}
    assert run.info.status == "FINISHED"
    assert run.data.params["xgb_classifier.n_estimators"] == "10"
    assert run.data.metrics["test.family_recall.dos"] > 0
    assert run.inputs.dataset_inputs[0].dataset.name == "nsl_kdd"
    assert run.data.tags["mlflow.source.git.commit"] == run_git(finished, "rev-parse", "HEAD~1")
    assert len(run.data.tags["netwarden.dvc_lock_sha256"]) == 64
    assert "evaluation/plots/roc.csv" in artifacts
    assert (version.run_id, version.tags["bundle_id"]) == (run.info.run_id, receipt["bundle_id"])


def test_a_second_run_changes_nothing(copied):
    before = (copied / "dvc.lock").read_text(), (copied / RECEIPT).stat().st_mtime_ns
    printed = dvc(copied, "repro")
    assert printed.count("didn't change, skipping") == 6
    assert before == ((copied / "dvc.lock").read_text(), (copied / RECEIPT).stat().st_mtime_ns)


@pytest.mark.timeout(600)  # the whole pipeline and a portal: 40 s, but minutes where the machine is busy
def test_a_portal_as_the_images_user_on_read_only_paths_trains_and_gives_the_same_rows_and_model(finished, slices):
    with open_folder() as folder:
        app, home = make_workspace(folder / "app"), folder / "home"  # without git, as in an image
        settings = settings_of(app, NETWARDEN_HOME=str(home))
        for name in ("KDDTrain+.txt", "KDDTest+.txt"):  # one at a time, and in the other order of their names
            load_slices(settings, [slices / name])
        port, own = free_port(), {"HOME": str(home), "TMPDIR": str(home), "BENTOML_HOME": str(home / "bentoml")}
        named = {"NETWARDEN_WORKSPACE": str(app), "NETWARDEN_HOME": str(home), "LOGNAME": "netwarden"}
        serve = [script("netwarden"), "serve", "--port", str(port)]
        guard = confined(give_to(home))
        with serving([*guard, *serve], port, folder / "log", own | named):
            told = httpx.get(f"http://127.0.0.1:{port}/train", headers={"Prefer": "wait=500"}, timeout=500)
            assert told.text.strip() == "Training is successful", told.text + (folder / "log").read_text()[-3000:]
            assert httpx.get(f"http://127.0.0.1:{port}/ready", timeout=30).status_code == 200
        workspace = home / "workspace" if guard else app  # root may write an image's files; nobody else may
        assert (workspace / "dvc.lock").exists()
        assert not (workspace / ".dvc/config.local").read_text().count("no_scm = false")
        for name in ("ingest/flows.parquet", "transform/training.npz", "transform/preprocessor.npz"):
            assert (workspace / "data/pipeline" / name).read_bytes() == (finished / "data/pipeline" / name).read_bytes()
        mine, theirs = (load_bundle(folder / "data/pipeline/train/bundle").manifest for folder in (workspace, finished))
    assert mine.files == theirs.files
    # Only the commit is told apart: this workspace has none.
    assert mine.training.git_commit == ""
    assert mine.model_copy(update={"training": theirs.training}) == theirs


def test_two_clean_runs_of_one_commit_give_the_same_bundle(finished, copied):
    shutil.rmtree(copied / "data/pipeline")
    shutil.rmtree(copied / ".dvc/cache")
    (copied / "dvc.lock").unlink()
    (copied / "README.md").write_text("A later commit that no bundle depends on.\n")
    commit(copied, "Something else")
    dvc(copied, "repro", "train")
    ids = {load_bundle(folder / "data/pipeline/train/bundle").bundle_id for folder in (finished, copied)}
    assert len(ids) == 1


def test_editing_a_module_makes_exactly_the_stages_that_use_it_stale(copied):
    assert json.loads(dvc(copied, "status", "--json")) == {}
    for module, stale in (
        ("training/resample.py", {"train"}),
        ("evaluation/checks.py", {"validate"}),
        ("training/tracking.py", {"register"}),
        ("evaluation/metrics.py", {"train", "evaluate", "register"}),
        ("settings.py", {"ingest", "validate", "transform", "train", "evaluate", "register"}),
    ):
        path = copied / "src/netwarden" / module
        text = path.read_text()
        path.write_text(text + "# edited\n")
        assert set(json.loads(dvc(copied, "status", "--json"))) == stale, module
        path.write_text(text)


def test_data_that_fails_a_check_stops_the_pipeline_and_says_which_rows(copied):
    schema = copied / "schema/nsl_kdd.yaml"
    schema.write_text(schema.read_text().replace("label_conflicts: 116", "label_conflicts: 0"))
    command = [sys.executable, "main.py"]
    run = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "JobError: stage validate failed" in run.stderr
    assert "label_conflicts: " in run.stderr
    assert "KDDT" in run.stderr.split("first rows: ")[1]
    report = json.loads((copied / "data/pipeline/validate/report.json").read_text())
    assert [check["name"] for check in report["checks"] if not check["passed"]] == ["label_conflicts"]


def test_a_store_with_other_rows_than_the_manifest_says_is_refused(copied):
    manifest = copied / "data/manifests/nsl_kdd.json"
    manifest.write_text(manifest.read_text().replace('"content_hash": "', '"content_hash": "0'))
    command = [sys.executable, "-m", "netwarden.stages.ingest"]
    run = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert re.search(
        r"holds other rows of nsl_kdd \(\d+\) than the manifest says \(\d+\); load the dataset", run.stderr
    )


def test_an_emptied_state_folder_is_registered_to_again(copied, monkeypatch, tmp_path):
    monkeypatch.setenv("NETWARDEN_HOME", str(tmp_path / "home"))
    settings = settings_of(copied, NETWARDEN_HOME=str(tmp_path / "home"))
    settings.home.mkdir()
    shutil.copy(copied / "data/flows.sqlite", settings.home)
    told = run_pipeline(settings)
    assert "first bundle" in told
    assert (settings.bundles_dir / receipt_of(copied)["bundle_id"] / "bundle.json").exists()


def test_a_stage_run_alone_says_what_is_missing_or_misconfigured_in_one_line(tmp_path):
    workspace = make_workspace(tmp_path / "new")
    command = [sys.executable, "-m", "netwarden.stages.validate"]
    for environ, fault in (
        ({}, "validate: NotFoundError: .*ingest/schema.json is missing; the stage that makes it has not run"),
        ({"NETWARDEN_PORT": "abc"}, r"validate: ConfigError: .*'portal\.port'"),
    ):
        run = subprocess.run(
            command, cwd=workspace, env=os.environ | environ, capture_output=True, text=True, check=False
        )
        assert run.returncode == 1
        assert re.fullmatch(fault + ".*\n", run.stderr), run.stderr


def test_a_second_run_at_the_same_time_is_told_so(copied):
    slow = copied / "dvc.yaml"
    slow.write_text(slow.read_text().replace("cmd: python -m netwarden.stages.ingest", "cmd: sleep 100"))
    command = [sys.executable, "-m", "dvc", "repro"]
    with subprocess.Popen(command, cwd=copied, stdout=subprocess.PIPE, text=True, process_group=0) as first:
        assert any("sleep 100" in line for line in first.stdout or ())
        with pytest.raises(JobBusyError, match="another run of the pipeline is under way"):
            run_pipeline(settings_of(copied))
        os.killpg(first.pid, signal.SIGTERM)


def test_a_run_anywhere_keeps_others_of_the_same_store_waiting_and_tells_who_it_is(copied):
    command = [sys.executable, "-c", "from netwarden.cli import main; main()", "train"]
    settings = settings_of(copied)
    with closing(open_lease(settings)) as lease, lease.hold(TRAINING, "netwarden@portal-7, process 12", 30):
        with pytest.raises(
            JobBusyError, match=r"training is held by netwarden@portal-7, process 12; wait until it ends"
        ):
            run_pipeline(settings)
        run = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("JobBusyError: training is held by netwarden@portal-7, process 12"), run.stderr


def test_a_run_that_is_asked_to_end_gives_its_lease_back(copied):
    slow = copied / "dvc.yaml"
    slow.write_text(slow.read_text().replace("cmd: python -m netwarden.stages.ingest", "cmd: sleep 100"))
    command = [sys.executable, "-c", "from netwarden.cli import main; main()", "train"]
    with closing(open_lease(settings_of(copied))) as lease:
        with subprocess.Popen(command, cwd=copied, stdout=subprocess.PIPE, text=True, process_group=0) as run:
            assert any("sleep 100" in line for line in run.stdout or ())
            assert f"process {run.pid} since" in str(lease.holder(TRAINING))
            os.killpg(run.pid, signal.SIGTERM)
        assert lease.holder(TRAINING) is None


def test_a_workspace_without_a_pipeline_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no dvc\.yaml"):
        run_pipeline(settings_of(tmp_path))


def test_a_dataset_that_was_never_loaded_is_named_with_the_command_that_loads_it(tmp_path):
    with pytest.raises(NotFoundError, match=r"load it with `python ETL\.py --dataset nsl_kdd`"):
        run_pipeline(settings_of(make_workspace(tmp_path / "new")))


def test_retraining_as_github_does_it_starts_from_what_was_there_and_leaves_figures_for_the_pull_request(copied):
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock", "pyproject.toml", "setup.py", "ETL.py"):
        shutil.copy2(ROOT / name, copied / name)
    (copied / "deploy").symlink_to(ROOT / "deploy")

    def make(*words: str) -> str:
        venv = ROOT / ".venv"  # as it is: installing from the copy would make it the package of every other test
        installed = (f"--old-file={venv}/.installed-{what}" for what in ("core", "dev"))
        command = ["make", f"VENV={venv}", *installed, *words]
        env = {**os.environ, "MONGODB_URI": ""}
        run = subprocess.run(command, cwd=copied, env=env, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout

    assert "is back from" in make("snapshots")
    plan = make("--dry-run", "retrain")
    assert plan.index("etl --dataset") < plan.index("main.py")
    figures = json.loads((copied / METRICS).read_text())
    figures["test"]["accuracy"] = 0.5
    (copied / METRICS).unlink()  # a link into the cache
    (copied / METRICS).write_text(json.dumps(figures))
    make("metrics-diff")
    table = (copied / "build/metrics-diff.md").read_text()
    assert re.search(r"\| test\.accuracy +\| 0\.\d+ +\| 0\.5 +\| -0\.\d+ +\|", table), table


@pytest.mark.timeout(600)  # three stages and five DVC commands: 25 s, but minutes where the machine is busy
def test_experiments_run_and_compare_such_as_smote_and_xgboost_beside_the_default(copied):
    changes = ("params.json:train.detector=boosted_trees", "params.json:xgb_classifier.max_depth=3")
    dvc(copied, "exp", "run", *(word for change in changes for word in ("--set-param", change)), "--name", "shallow")
    assert "max_depth" in dvc(copied, "params", "diff")
    changed = json.loads(dvc(copied, "metrics", "diff", "--json"))
    assert "test.accuracy" in changed["diff"][METRICS] if "diff" in changed else changed[METRICS]
    page = dvc(copied, "plots", "diff", "--out", str(copied / "plots"))
    assert "index.html" in page
    assert "dos" in (copied / "plots/index.html").read_text()
    with closing(open_registry(settings_of(copied))) as registry:
        assert len(registry.entries("nsl_kdd")) == 2


def test_a_fresh_clone_gets_its_data_back_from_the_remote(finished, tmp_path, monkeypatch):
    clone = tmp_path / "clone"
    run_git(tmp_path, "clone", "--quiet", str(finished), str(clone))
    with pytest.raises(BackupError, match=r"cannot pull from .*clone/data/snapshots"):  # nothing was ever pushed there
        pull_snapshots(settings_of(clone))
    dvc(clone, "remote", "modify", "--local", "snapshots", "url", str(finished / "data/snapshots"))
    dvc(clone, "pull")
    for name in ("train/bundle/bundle.json", "evaluate/metrics.json", "ingest/flows.parquet"):
        assert (clone / "data/pipeline" / name).read_bytes() == (finished / "data/pipeline" / name).read_bytes()
    assert not (clone / RECEIPT).exists()  # what was registered there was not registered here
