"""Flows in transit, and stores and queues of each kind for them to pass through."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from netwarden.detectors.bundle import DetectorBundle
from netwarden.errors import InputError
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable, alert_id, content_hash
from netwarden.scoring.model import Model
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings, load_settings
from netwarden.sources.connect import open_flow_store, open_registry
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.memory_queue import MemoryQueue
from netwarden.sources.redis_queue import RedisQueue
from netwarden.sources.store import AlertStore, BundleEntry, Queue
from netwarden.streaming.batch import StreamBatch, named_rows
from netwarden.streaming.judge import ChooseModel
from tests.fixtures.data import ROOT

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


def stored_alerts(store: AlertStore, *, withdrawn: bool = True) -> dict[str, tuple[float, str, str | None]]:
    """Alert id → score, verdict and family that a store holds, of withdrawn alerts too where these are wanted."""
    held: dict[str, tuple[float, str, str | None]] = {}
    cursor = None
    while True:
        page = store.find(limit=1000, cursor=cursor)
        wanted = [alert for alert in page.alerts if withdrawn or alert.withdrawn_at is None]
        held |= {alert.alert_id: (alert.score, alert.verdict, alert.family) for alert in wanted}
        cursor = page.cursor
        if cursor is None:
            return held


@dataclass(frozen=True)
class Deployment:
    """A home with a champion and a dataset of which the second half are test rows."""

    settings: Settings
    flows: FlowTable  # the test rows, named as a replay by sensor `edge` names them
    bundle: DetectorBundle

    def with_stream(self, **changes: Any) -> Settings:
        stream = self.settings.stream.model_copy(update=changes)
        return self.settings.model_copy(update={"stream": stream})


@pytest.fixture
def deployment(tmp_path, flows, bundle) -> Deployment:
    return deploy(tmp_path / "home", flows, bundle)


def deploy(home: Path, flows: FlowTable, bundle: DetectorBundle, **environment: str) -> Deployment:
    settings = load_settings({"NETWARDEN_HOME": str(home), "NETWARDEN_WORKSPACE": str(ROOT), **environment})
    stream = settings.stream.model_copy(update={"sensor": "edge", "sensor_port": 0, "worker_port": 0})
    settings = settings.model_copy(update={"stream": stream})
    rows = stored_rows(flows)
    with closing(open_flow_store(settings)) as store:
        store.insert("made_up", flows.schema_id, rows)
    register(settings, bundle)
    tests = FlowTable(rows.filter(pc.equal(rows["split"], "test")), flows.schema_id)
    return Deployment(settings, named_rows(tests, "edge"), bundle)


def stored_rows(flows: FlowTable) -> Any:
    """Rows with the reserved columns, as ETL stores them."""
    count = len(flows)
    return (
        flows.arrow.append_column(
            "row_id", pa.array([content_hash(b"%d" % number) for number in range(count)], pa.binary(16))
        )
        .append_column("split", pa.array(["train"] * (count // 2) + ["test"] * (count - count // 2)))
        .append_column("source_file", pa.array(["made-up.csv"] * count))
        .append_column("source_line", pa.array(range(count), pa.int64()))
    )


def register(settings: Settings, bundle: DetectorBundle) -> None:
    """Put a bundle in charge."""
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id, dirs_exist_ok=True)
    with closing(open_registry(settings)) as registry:
        entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC))
        registry.register(entry, "ann", "trained")
        registry.promote(bundle.bundle_id, "ann", "the best")
