"""A portal that really listens, with a small champion."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from playwright.sync_api import Browser, sync_playwright

from netwarden.detectors.bundle import DetectorBundle
from netwarden.portal.app import create_app
from netwarden.portal.security import Access
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from tests.fixtures.data import ROOT


@dataclass(frozen=True)
class Portal:
    """A listening portal. `client` has no token and follows no redirect."""

    settings: Settings
    address: str
    access: Access
    client: httpx.Client


Start = Callable[[Settings], Portal]


def portal_settings(folder: Path, **portal: object) -> Settings:
    """Settings with the repository's schemas and a state folder of its own."""
    return Settings.model_validate(
        {"workspace": ROOT, "home": folder / "home", "datasets": folder / "datasets", "portal": portal}
    )


def make_champion(settings: Settings, bundle: DetectorBundle) -> None:
    """Put a bundle in charge of its schema."""
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id, dirs_exist_ok=True)
    entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC))
    with closing(open_registry(settings)) as registry:
        registry.register(entry, who="test", why="test")
        registry.promote(bundle.bundle_id, who="test", why="test")


@contextmanager
def listening(settings: Settings) -> Iterator[Portal]:
    """A portal on a free port of this machine, until the block ends."""
    app = create_app(settings)
    config = uvicorn.Config(app, proxy_headers=False, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    config.host, config.port = "127.0.0.1", 0
    socket = config.bind_socket()
    address = f"http://127.0.0.1:{socket.getsockname()[1]}"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([socket],))
    thread.start()
    try:
        with httpx.Client(base_url=address, timeout=30) as client:
            yield Portal(settings, address, app.state.access, client)
    finally:
        server.should_exit = True
        thread.join(10)
        socket.close()


@pytest.fixture(scope="session")
def portal(bundle: DetectorBundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal with the small bundle in charge; shared, so tests change nothing but uploads."""
    settings = portal_settings(tmp_path_factory.mktemp("portal"), page_rows=50, max_upload_mb=1)
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


@pytest.fixture
def empty_portal(tmp_path: Path) -> Iterator[Portal]:
    """A portal without any bundle."""
    with listening(portal_settings(tmp_path)) as running:
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
