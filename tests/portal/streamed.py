"""Scored flows for the portal to follow, as a worker puts them into the feed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.labels import BENIGN
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings
from netwarden.sources.connect import open_feed
from netwarden.streaming.batch import Badge, StreamBatch, pack
from netwarden.streaming.heartbeat import HEARTBEATS, KEPT, Heartbeat, write_heartbeat
from netwarden.streaming.sampled import ENTRIES, SAMPLES
from netwarden.streaming.scored import ScoredBatch, write_scored
from tests.portal.conftest import NAMES


def scored(
    bundle: DetectorBundle,
    flows: FlowTable,
    at: datetime | None = None,
    sensor: str = "edge",
    source: Badge = "live",
) -> ScoredBatch:
    """Flows between hosts of a small network, scored 40 ms after they were sent; those of a replay have labels."""
    at = at or datetime.now(UTC)
    features = flows.arrow.drop_columns([name for name in ("label", "family") if name in flows.arrow.column_names])
    result = Scorer(bundle, threads=1).score(FlowTable(features, flows.schema_id))
    rows = np.arange(len(flows))
    about = {
        "flow_id": pa.array([f"{sensor}-{at.timestamp():.3f}-{row}" for row in rows]),
        "started_at": pa.array([at - timedelta(seconds=2)] * len(flows), pa.timestamp("us", "UTC")),
        "src_ip": pa.array([f"10.0.0.{row % 4 + 1}" for row in rows]),
        "src_port": pa.array(40_000 + rows % 1000),
        "dst_ip": pa.array([f"192.168.1.{row % 9 + 10}" for row in rows]),
        "dst_port": pa.array([(22, 53, 80, 443)[row % 4] for row in rows]),
        "protocol": pa.array([17 if row % 4 == 1 else 6 for row in rows]),
    }
    about |= {"label": flows.arrow.column("label")} if source == "replay" else {}
    table = pa.table([*about.values(), *result.columns], names=[*about, *result.column_names])
    return ScoredBatch(table, bundle.bundle_id, flows.schema_id, source, sensor, at - timedelta(milliseconds=40), at)


def labelled(flows: FlowTable) -> FlowTable:
    """Made-up flows with attack names for labels, one of each family."""
    names = NAMES | {BENIGN: BENIGN}
    labels = pa.array([names[family] for family in flows.arrow.column("family").to_pylist()])
    return replace(flows, arrow=flows.arrow.set_column(flows.names.index("label"), "label", labels))


def stream(settings: Settings, *batches: ScoredBatch) -> None:
    """Put scored batches where a portal of this process follows them: it must have been started before."""
    feed = open_feed(settings)
    for batch in batches:
        feed.append(write_scored(batch))


def tell(settings: Settings, *beats: Heartbeat) -> None:
    """Put heartbeats of roles where a portal of this process follows them: it must have been started before."""
    feed = open_feed(settings, HEARTBEATS, KEPT)
    for beat in beats:
        feed.append(write_heartbeat(beat))


def heartbeat(role: str = "worker", name: str = "w", seconds_ago: float = 0, **facts: Any) -> Heartbeat:
    """How a role says it is, or was some time ago; `facts` are of its health."""
    ended, at = facts.pop("ended", False), datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return Heartbeat(role, name, f"host-{name}", 9102, at, 57.2, {"components": {}, **facts}, ended)


def sample(settings: Settings, flows: FlowTable, sensor: str = "edge") -> None:
    """Put flows where drift is measured, as a worker samples them."""
    feed = open_feed(settings, SAMPLES, ENTRIES)
    ids = pa.array([f"{sensor}-{number}" for number in range(len(flows))])
    flows = FlowTable(flows.arrow.append_column("flow_id", ids), flows.schema_id)
    for start in range(0, len(flows), 40):
        feed.append(pack(StreamBatch(flows.slice(start, 40), "live", sensor, datetime.now(UTC))))
