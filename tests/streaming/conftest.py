"""Flows in transit, and stores and queues of each kind for them to pass through."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from netwarden.flows.table import FlowTable
from netwarden.streaming.batch import StreamBatch

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def named_flows(flows) -> FlowTable:
    """3,000 made-up NSL-KDD rows with ids and labels."""
    return with_ids(flows)


def with_ids(table: FlowTable, prefix: str = "flow") -> FlowTable:
    ids = pa.array([f"{prefix}-{number}" for number in range(len(table))])
    return FlowTable(table.arrow.append_column("flow_id", ids), table.schema_id)


def batch_of(table: FlowTable, sent_at: datetime = NOON) -> StreamBatch:
    return StreamBatch(table, "replay", "test", sent_at)
