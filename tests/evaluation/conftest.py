"""The made-up table as fixtures."""

import pytest

from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from tests.fixtures.toy import make_schema, make_table


@pytest.fixture
def schema() -> FlowSchema:
    return make_schema()


@pytest.fixture
def table() -> FlowTable:
    return make_table(4000, seed=3)
