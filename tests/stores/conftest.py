"""Every backend of every contract, as the settings of a deployment that uses it."""

from pathlib import Path

import pytest

from netwarden.settings import Settings, load_settings

BACKENDS = ("embedded", "mongodb")


@pytest.fixture(params=BACKENDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings whose stores are empty: a local folder, or a database of this test's own."""
    environment = {"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": str(tmp_path)}
    if request.param == "mongodb":
        environment["MONGODB_URI"] = request.getfixturevalue("mongodb_uri")
    return load_settings(environment)


@pytest.fixture
def embedded_settings(tmp_path: Path) -> Settings:
    """Settings with nothing configured."""
    return load_settings({"NETWARDEN_HOME": str(tmp_path / "home"), "NETWARDEN_WORKSPACE": str(tmp_path)})
