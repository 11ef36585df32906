"""DVC remotes and DagsHub, configured from the environment and verified against a real server."""

import shutil
import stat
import subprocess
import sys

import pytest

from netwarden.errors import BackupError, ConfigError, TrackingError
from netwarden.settings import load_settings
from netwarden.training.remotes import configure_remotes, connect, probe_tracking, pull_snapshots, push_snapshots
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def workspace(tmp_path):
    """A DVC workspace of one stage, outside git."""
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc/config", tmp_path / ".dvc/config")
    (tmp_path / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text("stages: {a: {cmd: echo flows > flows.txt, outs: [flows.txt]}}\n")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def settings_of(workspace, **environment):
    return load_settings({"NETWARDEN_WORKSPACE": str(workspace), **environment})


def lose_the_data(workspace):
    shutil.rmtree(workspace / ".dvc/cache")
    (workspace / "flows.txt").unlink()


def test_with_nothing_configured_snapshots_go_to_the_state_folder_and_come_back(workspace, tmp_path):
    settings = settings_of(workspace, NETWARDEN_HOME=str(tmp_path / "state"))
    assert push_snapshots(settings) == ["snapshots"]
    lose_the_data(workspace)
    assert str(tmp_path / "state") in pull_snapshots(settings)
    assert (workspace / "flows.txt").read_text() == "flows\n"


def test_with_a_bucket_snapshots_go_to_s3_and_come_back(workspace, s3_bucket):
    settings = settings_of(workspace, **s3_bucket.environment)
    assert push_snapshots(settings) == ["snapshots"]
    lose_the_data(workspace)
    assert f"s3://{s3_bucket.name}/snapshots" in pull_snapshots(settings)
    assert (workspace / "flows.txt").read_text() == "flows\n"


def test_an_unreachable_bucket_is_an_error_that_names_it(workspace):
    settings = settings_of(
        workspace,
        S3_BUCKET="flows",
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{free_port()}",
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
    )
    with pytest.raises(BackupError, match="not pushed to s3://flows/snapshots"):
        push_snapshots(settings)


def test_the_six_line_env_sets_up_tracking_and_both_remotes(workspace):
    (workspace / ".env").write_text(
        "URI=mongodb+srv://user:secret@cluster.example.org/flows\n"
        "AWS_ACCESS_KEY_ID=key\nAWS_SECRET_ACCESS_KEY=hidden\nS3_BUCKET=flows\n"
        "MLFLOW_TRACKING_URI=https://dagshub.com/ada/traffic.mlflow\nDAGSHUB_TOKEN=token\n"
    )
    settings = settings_of(workspace)
    assert (settings.dagshub_repo, settings.mlflow_username) == ("ada/traffic", "ada")
    assert settings.mlflow_password.get_secret_value() == "token"
    assert configure_remotes(settings) == ["snapshots", "dagshub"]
    written = (workspace / ".dvc/config.local").read_text()
    assert "url = https://dagshub.com/ada/traffic.dvc" in written
    assert "url = s3://flows/snapshots" in written
    assert "hidden" not in written
    assert stat.S_IMODE((workspace / ".dvc/config.local").stat().st_mode) == 0o600


def test_connect_verifies_and_sets_up_mlflow_and_the_remote(workspace, dagshub):
    settings = settings_of(workspace, DAGSHUB_CLIENT_HOST=dagshub.url, DAGSHUB_TOKEN=dagshub.token)
    told = str(connect(settings, dagshub.repo))
    assert dagshub.tracking in told
    assert dagshub.token not in told
    again = settings_of(workspace, DAGSHUB_CLIENT_HOST=dagshub.url, DAGSHUB_TOKEN=dagshub.token)
    assert again.mlflow_uri == dagshub.tracking  # .env now names the repository
    assert probe_tracking(again) == ""
    assert push_snapshots(again) == ["snapshots", "dagshub"]
    assert list(dagshub.files.rglob("*"))


def test_connect_with_a_wrong_token_changes_nothing(workspace, dagshub):
    before = (workspace / ".dvc/config.local").read_text()
    settings = settings_of(workspace, DAGSHUB_CLIENT_HOST=dagshub.url, DAGSHUB_TOKEN="a-wrong-token")
    with pytest.raises(TrackingError, match=r"refuses the credentials of user ada .* DAGSHUB_TOKEN"):
        connect(settings, dagshub.repo)
    assert (workspace / ".dvc/config.local").read_text() == before
    assert not (workspace / ".env").exists()


def test_connect_to_a_repository_that_is_not_there_says_so(workspace, dagshub):
    settings = settings_of(workspace, DAGSHUB_CLIENT_HOST=dagshub.url, DAGSHUB_TOKEN=dagshub.token)
    with pytest.raises(TrackingError, match="HTTP 404; is the address right"):
        connect(settings, "ada/nothing")


@pytest.mark.parametrize("repo", ["traffic", "ada/", "https://dagshub.com/ada/traffic"])
def test_connect_refuses_what_is_not_owner_and_repository(workspace, repo):
    with pytest.raises(ConfigError, match="is not OWNER/REPO"):
        connect(settings_of(workspace, DAGSHUB_TOKEN="token"), repo)


def test_connect_without_a_token_says_where_to_get_one(workspace):
    with pytest.raises(ConfigError, match="DAGSHUB_TOKEN is not set; make one"):
        connect(settings_of(workspace), "ada/traffic")


def test_a_dagshub_that_is_away_only_warns(workspace, caplog):
    away = {"DAGSHUB_CLIENT_HOST": f"http://127.0.0.1:{free_port()}", "DAGSHUB_REPO": "ada/traffic"}
    settings = settings_of(workspace, DAGSHUB_TOKEN="token", **away)
    assert push_snapshots(settings) == ["snapshots"]
    assert "not pushed to DagsHub" in caplog.text
