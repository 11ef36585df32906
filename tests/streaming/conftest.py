"""Flows in transit, and stores and queues of each kind for them to pass through."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from netwarden.detectors.bundle import DetectorBundle
from netwarden.errors import InputError
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable, alert_id
from netwarden.scoring.model import Model
from netwarden.scoring.scorer import Scorer
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.memory_queue import MemoryQueue
from netwarden.sources.redis_queue import RedisQueue
from netwarden.sources.store import AlertStore, Queue
from netwarden.streaming.batch import StreamBatch
from netwarden.streaming.judge import ChooseModel

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


@pytest.fixture
def alerts(tmp_path) -> Iterator[AlertStore]:
    """An empty embedded alert store."""
    store = EmbeddedAlertStore(tmp_path / "alerts.sqlite")
    yield store
    store.close()


@pytest.fixture(params=["memory", "redis"])
def queue(request) -> Iterator[Queue]:
    """An empty queue of each kind."""
    made: Queue = MemoryQueue() if request.param == "memory" else RedisQueue(request.getfixturevalue("redis_url"))
    yield made
    made.close()


@pytest.fixture
def choose(bundle, nsl_schema) -> ChooseModel:
    """The small bundle, in charge of its schema."""
    return in_charge(bundle, nsl_schema)


def in_charge(bundle: DetectorBundle, schema: FlowSchema) -> ChooseModel:
    model = Model(Scorer(bundle, threads=1), schema)

    def chosen(schema_id: str) -> Model:
        if schema_id != bundle.schema_id:
            raise InputError(f"no detector serves schema {schema_id!r}")
        return model

    return chosen


def expected_alerts(table: FlowTable, bundle: DetectorBundle) -> dict[str, tuple[float, str, str | None]]:
    """Alert id → score, verdict and family that `Scorer.score` gives for a table."""
    rows = Scorer(bundle, threads=1).score(table).to_pylist()
    flow_ids = table.arrow.column("flow_id").to_pylist()
    return {
        alert_id(flow_id): (row["score"], row["verdict"], row["family"])
        for flow_id, row in zip(flow_ids, rows, strict=True)
        if row["score"] >= row["threshold"]
    }


def stored_alerts(store: AlertStore) -> dict[str, tuple[float, str, str | None]]:
    """Alert id → score, verdict and family that a store holds."""
    held: dict[str, tuple[float, str, str | None]] = {}
    cursor = None
    while True:
        page = store.find(limit=1000, cursor=cursor)
        held |= {alert.alert_id: (alert.score, alert.verdict, alert.family) for alert in page.alerts}
        cursor = page.cursor
        if cursor is None:
            return held
