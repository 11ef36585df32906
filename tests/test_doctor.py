"""What `netwarden doctor` says of each thing that can be wrong."""

import base64
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from netwarden import doctor
from netwarden.doctor import Finding, examine
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, script, serving

SECRET = "hush-hush"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A checkout with nothing configured."""
    folder = tmp_path / "checkout"
    for name in ("schema", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for name in ("dvc.yaml", "params.json"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def configured(workspace: Path, **environment: str) -> Settings:
    settings = load_settings({"NETWARDEN_WORKSPACE": str(workspace), **environment})
    return settings.model_copy(
        update={
            "store": settings.store.model_copy(update={"timeout_s": 1.0}),
            "tracking": settings.tracking.model_copy(update={"timeout_s": 2.0}),
        }
    )


def finding(settings: Settings, subject: str) -> Finding:
    """The first finding on a subject."""
    return next(found for found in examine(settings).findings if found.subject == subject)


def test_with_nothing_configured_all_is_well(workspace):
    report = examine(configured(workspace))
    assert report.healthy
    assert {found.verdict for found in report.findings} == {"ok"}
    assert str(report).endswith("all is well")
    assert [found.subject for found in report.findings if found.subject in ("redis", "dagshub")] == []


def test_it_leaves_no_rows_and_no_backup_behind(workspace):
    settings = configured(workspace)
    examine(settings)
    assert "0 datasets, 0 alerts, 0 bundles" in finding(settings, "store").text
    assert list((settings.home / "backup").iterdir()) == []


def test_a_report_with_a_failure_is_not_healthy_and_counts_it(workspace):
    (workspace / "dvc.yaml").unlink()
    report = examine(configured(workspace))
    assert not report.healthy
    assert str(report).endswith(f"1 of {len(report.findings)} checks failed")
    assert "fail  workspace" in str(report)
    assert "→ run from a checkout of Netwarden, or set NETWARDEN_WORKSPACE to one" in str(report)


def test_the_command_exits_with_1_where_something_fails_and_0_where_nothing_does(workspace):
    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        given = {"NETWARDEN_WORKSPACE": str(workspace), "PATH": "/usr/bin:/bin", **environment}
        return subprocess.run([script("netwarden"), "doctor"], env=given, capture_output=True, text=True, check=False)

    assert run().returncode == 0
    failed = run(REDIS_URL="nonsense")
    assert failed.returncode == 1
    assert "REDIS_URL is not an address" in failed.stdout


# --- this machine -------------------------------------------------------------------------------------------


def test_a_package_that_is_missing_is_named(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ["numpy", "no-such-package[s3]>=2", 'spark; extra == "spark"'])
    found = finding(configured(workspace), "packages")
    assert (found.verdict, found.text, found.advice) == ("fail", "not installed: no-such-package", "make setup")


def test_packages_other_than_the_locked_ones_are_named(workspace):
    (workspace / "requirements.lock").write_text("numpy==0.1 \\\n    --hash=sha256:00\ndvc[s3]==0.2\nnot-here==1\n")
    found = finding(configured(workspace), "packages")
    assert found.verdict == "warn"
    assert found.text.startswith("2 differ from requirements.lock: numpy ")
    assert "(locked: 0.1)" in found.text


def test_a_variable_with_a_wrong_name_is_shown(workspace):
    found = finding(configured(workspace, MONGO_URI="mongodb://localhost"), "environment")
    assert (found.verdict, found.text) == ("warn", "MONGO_URI is set but not read; did you mean MONGODB_URI?")


def test_a_fault_in_params_or_schemas_is_named(workspace):
    (workspace / "schema" / "bad.yaml").write_text("id: bad\ncolums: []\n")
    assert "bad.yaml" in finding(configured(workspace), "workspace").text
    (workspace / "params.json").write_text('{"trian": {}}')
    found = finding(configured(workspace), "workspace")
    assert (found.verdict, "unknown key 'trian'" in found.text) == ("fail", True)


def test_a_home_that_cannot_be_written_is_named(workspace, tmp_path):
    (tmp_path / "file").touch()
    settings = configured(workspace, NETWARDEN_HOME=str(tmp_path / "file" / "home"))
    found = finding(settings, "home")
    assert (found.verdict, "cannot be written: Not a directory" in found.text) == ("fail", True)
    assert "NETWARDEN_HOME" in found.advice
    assert finding(settings, "store").verdict == finding(settings, "backup").verdict == "fail"


# --- addresses and credentials ------------------------------------------------------------------------------


def test_a_mongodb_that_answers_is_written_and_read(workspace, mongodb_uri):
    found = finding(configured(workspace, MONGODB_URI=mongodb_uri), "store")
    assert found.verdict == "ok"
    assert found.text.startswith("MongoDB 127.0.0.1:")
    assert "0 datasets" in found.text


def test_a_mongodb_that_does_not_answer_is_named(workspace):
    port = free_port()
    found = finding(configured(workspace, MONGODB_URI=f"mongodb://ann:{SECRET}@127.0.0.1:{port}/flows"), "store")
    assert (found.verdict, f"MongoDB 127.0.0.1:{port}, database flows: no answer" in found.text) == ("fail", True)


def test_a_bucket_is_tried_and_a_missing_one_named(workspace, s3_bucket):
    found = finding(configured(workspace, **s3_bucket.environment), "backup")
    assert (found.verdict, found.text) == (
        "ok",
        f"s3://{s3_bucket.name} at {s3_bucket.endpoint}: written, read and removed",
    )
    found = finding(configured(workspace, **{**s3_bucket.environment, "S3_BUCKET": "no-such-bucket"}), "backup")
    assert (found.verdict, "there is no such bucket; create it" in found.text) == ("fail", True)


@pytest.fixture
def tracking_server() -> Iterator[str]:
    """A server that answers like MLflow behind basic auth, for user ann with password right."""

    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self):
            right = "Basic " + base64.b64encode(b"ann:right").decode()
            self.send_response(200 if self.headers["Authorization"] == right else 401)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Guarded) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_tracking_server_is_signed_in_to_and_a_wrong_password_said_to_be_wrong(workspace, tracking_server):
    signed = {"MLFLOW_TRACKING_URI": tracking_server, "MLFLOW_TRACKING_USERNAME": "ann"}
    found = finding(configured(workspace, **signed, MLFLOW_TRACKING_PASSWORD="right"), "tracking")
    assert (found.verdict, found.text) == ("ok", f"{tracking_server}: signed in")
    found = finding(configured(workspace, **signed, MLFLOW_TRACKING_PASSWORD=SECRET), "tracking")
    assert (found.verdict, "refuses the credentials of user ann" in found.text) == ("fail", True)
    assert "runs are kept and synced later" in found.advice


def test_a_tracking_server_that_does_not_answer_is_named(workspace):
    found = finding(configured(workspace, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}"), "tracking")
    assert (found.verdict, "cannot be reached" in found.text) == ("fail", True)


def test_a_tracking_address_that_mlflow_cannot_open_is_named(workspace):
    found = finding(configured(workspace, MLFLOW_TRACKING_URI="dagshub.com://owner/repo"), "tracking")
    assert (found.verdict, found.text.split(";")[0]) == (
        "fail",
        "dagshub.com://owner/repo is no address of a tracking server",
    )
    there = finding(configured(workspace, MLFLOW_TRACKING_URI=f"sqlite:///{workspace}/runs.db"), "tracking")
    assert there.verdict == "ok" and there.text.endswith("opened by MLflow itself")


def test_dagshub_is_signed_in_to_with_its_token(workspace, tracking_server):
    def at(token: str) -> Finding:
        settings = configured(workspace, DAGSHUB_REPO="ann/flows", DAGSHUB_TOKEN=token)
        return finding(settings.model_copy(update={"dagshub_url": tracking_server, "mlflow_uri": None}), "dagshub")

    assert (at("right").verdict, at("right").text) == ("ok", "ann/flows: signed in")
    assert (at(SECRET).verdict, at(SECRET).advice) == ("fail", "check the repository's name and DAGSHUB_TOKEN")


def test_half_of_dagshub_is_not_enough(workspace):
    only_repo = configured(workspace, DAGSHUB_REPO="ann/flows").model_copy(update={"mlflow_uri": None})
    assert finding(only_repo, "dagshub").text == "DAGSHUB_TOKEN is not set"
    assert finding(configured(workspace, DAGSHUB_TOKEN=SECRET), "dagshub").text == "DAGSHUB_REPO is not set"


def test_a_redis_that_answers_is_named_without_its_password(workspace, redis_url):
    found = finding(configured(workspace, REDIS_URL=redis_url), "redis")
    assert found.verdict == "ok"
    assert found.text.startswith("Redis 127.0.0.1:")


def test_a_redis_password_that_is_wrong_is_said_to_be_wrong(workspace, redis_server, tmp_path):
    port = free_port()
    program = shutil.which("redis-server")
    assert program is not None
    with serving([program, "--port", str(port), "--requirepass", "right", "--save", ""], port, tmp_path / "log"):
        for login in (f":{SECRET}@", ""):
            found = finding(configured(workspace, REDIS_URL=f"redis://{login}127.0.0.1:{port}/0"), "redis")
            assert (found.verdict, "the password is wrong or missing" in found.text) == ("fail", True)


def test_a_redis_that_does_not_answer_is_named(workspace):
    port = free_port()
    found = finding(configured(workspace, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{port}/0"), "redis")
    assert (found.verdict, f"Redis 127.0.0.1:{port}: no answer" in found.text) == ("fail", True)


# --- what is in charge --------------------------------------------------------------------------------------


def in_charge(settings: Settings, bundle_id: str) -> None:
    registry = open_registry(settings)
    registry.register(BundleEntry(bundle_id, "nsl_kdd", bundle_id, datetime(2026, 5, 1, tzinfo=UTC)), "ann", "test")
    registry.promote(bundle_id, "ann", "test")
    registry.close()


def test_a_champion_that_is_whole_is_verified_and_a_damaged_one_is_not(workspace, bundle_folder):
    settings = configured(workspace)
    shutil.copytree(bundle_folder, settings.bundles_dir / "aaaa")
    in_charge(settings, "aaaa")
    found = finding(settings, "champion")
    assert (found.verdict, found.text) == ("ok", "nsl_kdd: bundle aaaa, verified")
    with (settings.bundles_dir / "aaaa" / "preprocessor.npz").open("ab") as file:
        file.write(b"x")
    found = finding(settings, "champion")
    assert (found.verdict, "preprocessor.npz" in found.text) == ("fail", True)
    assert "netwarden restore aaaa" in found.advice


def test_a_champion_whose_bundle_is_not_here_is_named(workspace):
    settings = configured(workspace)
    in_charge(settings, "gone")
    assert finding(settings, "champion").verdict == "fail"


def test_a_checkout_without_dvc_is_named(workspace):
    shutil.rmtree(workspace / ".dvc")
    found = finding(configured(workspace), "dvc")
    assert (found.verdict, "is no DVC project" in found.text) == ("fail", True)


@pytest.mark.parametrize(
    ("host", "token", "verdict"),
    [
        ("127.0.0.1", "", "ok"),
        ("::1", "", "ok"),
        ("localhost", "", "ok"),
        ("0.0.0.0", "", "warn"),  # noqa: S104 - what the warning is about
        ("0.0.0.0", SECRET, "ok"),  # noqa: S104
    ],
)
def test_a_portal_open_to_the_network_without_a_token_is_warned_of(workspace, host, token, verdict):
    settings = configured(workspace, NETWARDEN_HOST=host, NETWARDEN_TOKEN=token)
    assert finding(settings, "portal").verdict == verdict


def test_no_secret_is_ever_shown(workspace):
    port = free_port()
    settings = configured(
        workspace,
        MONGODB_URI=f"mongodb://ann:{SECRET}@127.0.0.1:{port}/flows",
        S3_BUCKET="bucket",
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="me",
        AWS_SECRET_ACCESS_KEY=SECRET,
        REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{port}/0",
        MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}",
        MLFLOW_TRACKING_USERNAME="ann",
        MLFLOW_TRACKING_PASSWORD=SECRET,
        DAGSHUB_REPO="ann/flows",
        DAGSHUB_TOKEN=SECRET,
        NETWARDEN_TOKEN=SECRET,
    ).model_copy(update={"dagshub_url": f"http://127.0.0.1:{port}"})
    report = examine(settings)
    failing = {found.subject for found in report.findings if found.verdict == "fail"}
    assert failing == {"store", "backup", "tracking", "dagshub", "redis", "champion"}
    assert SECRET not in str(report)
    assert SECRET not in repr(report)
