"""A portal that really listens, with a small champion."""

import io
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from netwarden.detectors.bundle import DetectorBundle
from netwarden.portal.access.security import Access
from netwarden.portal.app import create_app
from netwarden.portal.server import listen, server_of
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.etl import run_etl
from netwarden.sources.store import BundleEntry
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT


@dataclass(frozen=True)
class Portal:
    """A listening portal. `client` has no token and follows no redirect."""

    settings: Settings
    address: str
    access: Access
    client: httpx.Client


Start = Callable[[Settings], Portal]
# Family of made-up flows → what files of NSL-KDD call one of its attacks.
NAMES = {"benign": "normal", "dos": "neptune", "probe": "nmap", "r2l": "guess_passwd"}


def portal_settings(folder: Path, **portal: object) -> Settings:
    """Settings with the repository's schemas and a state folder of its own."""
    return Settings.model_validate(
        {"workspace": ROOT, "home": folder / "home", "datasets": folder / "datasets", "portal": portal}
    )


def labelled_csv(table: pa.Table, labels: list[str]) -> bytes:
    """Flows as a CSV file with these labels in place of their own."""
    content = io.BytesIO()
    pacsv.write_csv(table.drop_columns(["label", "family"]).append_column("label", pa.array(labels)), content)
    return content.getvalue()


def make_champion(settings: Settings, bundle: DetectorBundle, validation: dict[str, float] | None = None) -> None:
    """Put a bundle in charge of its schema, with figures of validation rows."""
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id, dirs_exist_ok=True)
    entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC), validation or {})
    with closing(open_registry(settings)) as registry:
        registry.register(entry, who="test", why="test")
        registry.promote(bundle.bundle_id, who="test", why="test")


@contextmanager
def listening(settings: Settings) -> Iterator[Portal]:
    """A portal on a free port of this machine, until the block ends."""
    app = create_app(settings)
    server = server_of(app, "127.0.0.1", 0, grace_s=1)
    socket = listen(server)  # who asks before the server is up waits instead of being refused
    address = f"http://127.0.0.1:{socket.getsockname()[1]}"
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            yield Portal(settings, address, app.state.access, client)
    finally:
        server.should_exit = True
        thread.join(10)
        socket.close()


def make_small_workspace(folder: Path, schema) -> Settings:
    """A workspace of small, made-up flows that the pipeline trains on in seconds."""
    shutil.copytree(ROOT / "schema", folder / "schema")
    for name in ("src", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, folder / name)
    params = json.loads((ROOT / "params.json").read_text())
    params["ingest"]["dataset"] = "nsl_kdd"
    params["train"]["false_positive_budget"] = 0.01
    params["xgb_classifier"] |= {"n_estimators": 5, "max_depth": 3}
    params["evaluate"]["permutation_rows"] = 0
    (folder / "params.json").write_text(json.dumps(params))
    _write_files(folder / "files", schema)
    settings = load_settings({"NETWARDEN_WORKSPACE": str(folder)}, start=folder)
    run_etl(settings, [folder / "files"], dataset="nsl_kdd", schema="nsl_kdd")
    return settings


def _write_files(folder: Path, schema) -> None:
    """Made-up rows as NSL-KDD's own files write them: no header, then attack name and difficulty."""
    folder.mkdir()
    for name, rows, seed in (("KDDTrain+.txt", 3000, 1), ("KDDTest+.txt", 800, 2)):
        flows = made_up_flows(schema, rows, seed).arrow
        features = flows.drop_columns(["label", "family"]).to_pylist()
        families = flows.column("family").to_pylist()
        lines = [
            ",".join([*(str(value) for value in row.values()), NAMES[family], "20"])
            for row, family in zip(features, families, strict=True)
        ]
        (folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def portal(bundle: DetectorBundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal with the small bundle in charge; shared, so tests change nothing but uploads."""
    settings = portal_settings(tmp_path_factory.mktemp("portal"), page_rows=50, max_upload_mb=1)
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


@pytest.fixture(scope="session")
def second(nsl_schema, tmp_path_factory) -> DetectorBundle:
    """Another bundle of the same schema."""
    return train_bundle(tmp_path_factory.mktemp("b") / "other", nsl_schema, made_up_flows(nsl_schema, 1500, 2), seed=2)


@pytest.fixture
def empty_portal(tmp_path: Path) -> Iterator[Portal]:
    """A portal without any bundle."""
    with listening(portal_settings(tmp_path)) as running:
        yield running


@pytest.fixture(scope="session")
def small_workspace(tmp_path_factory, nsl_schema) -> Settings:
    return make_small_workspace(tmp_path_factory.mktemp("workspace"), nsl_schema)


@pytest.fixture(scope="session")
def studio(small_workspace) -> Iterator[Portal]:
    """A portal without a bundle at first, over the small workspace; its tests train in turn."""
    settings = small_workspace.model_copy(
        update={"portal": small_workspace.portal.model_copy(update={"train_silence_s": 300.0})}
    )
    with pytest.MonkeyPatch.context() as patch, listening(settings) as running:
        for name in ("MONGODB_URI", "URI", "S3_BUCKET", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("BENTOML_HOME", str(settings.home / "bentoml"))
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window that fails the test on any script error or refused script, style or connection."""
    window = browser.new_page()
    faults: list[str] = []
    window.on("pageerror", lambda error: faults.append(str(error)))
    window.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield window
    window.close()
    assert not faults
