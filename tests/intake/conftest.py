"""A workspace whose registry has a champion."""

import shutil
from contextlib import closing
from datetime import UTC, datetime

import pytest

from netwarden.scoring.model import load
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry
from tests.fixtures.data import ROOT


def register(settings: Settings, bundle, promote=True) -> None:
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id)
    entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC))
    with closing(open_registry(settings)) as registry:
        registry.register(entry, "tester", "test")
        if promote:
            registry.promote(bundle.bundle_id, "tester", "test")


@pytest.fixture
def empty_settings(tmp_path) -> Settings:
    """This workspace with a fresh state folder."""
    return load_settings({"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(tmp_path / "home")})


@pytest.fixture
def settings(empty_settings: Settings, bundle) -> Settings:
    """The same, with the small bundle as champion."""
    register(empty_settings, bundle)
    return empty_settings


@pytest.fixture
def model(settings):
    return load("champion", settings)


@pytest.fixture(scope="session")
def bare(flows, nsl_schema):
    """Features of 200 made-up flows, as an Arrow table."""
    return flows.arrow.select([column.name for column in nsl_schema.features]).slice(0, 200)
