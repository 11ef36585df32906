"""Fixtures for every test stand in tests/fixtures, one file per subject."""

pytest_plugins = [
    "tests.fixtures.data",
    "tests.fixtures.servers",
    "tests.fixtures.bundles",
    "tests.fixtures.dagshub",
    "tests.fixtures.network",
    "tests.fixtures.lab",
    "tests.fixtures.lab_bundle",
]
