"""Scored flows to alerts: one record for each flow whose score reached the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from netwarden.flows.alert import Alert
from netwarden.flows.schema import LABEL, RESERVED
from netwarden.flows.table import FlowTable, alert_id

FLOW_ID = "flow_id"
_ENDPOINTS = {
    "src_ip": "source",
    "src_port": "source_port",
    "dst_ip": "target",
    "dst_port": "target_port",
    "protocol": "protocol",
    "started_at": "started_at",
    LABEL: "truth",
}


def alerts_of(
    flows: FlowTable,
    result: Any,
    bundle_id: str,
    *,
    origin: str,
    raised_at: datetime,
    sensor: str = "",
    interim: Sequence[bool] | None = None,
) -> list[Alert]:
    """Alerts among flows with a `flow_id`, of what `Scorer.score` says of them, in their order.

    `interim` says of every flow whether it is still open. An alert's features are all that the table holds of its flow.
    """
    places = pc.indices_nonzero(pc.greater_equal(result.column("score"), result.column("threshold")))
    if not len(places):
        return []
    shared = {
        "bundle_id": bundle_id,
        "schema_id": flows.schema_id,
        "origin": origin,
        "sensor": sensor,
        "raised_at": raised_at,
    }
    rows = flows.arrow.take(places).to_pylist()
    verdicts = result.take(places).to_pylist()
    still_open = [interim[place] for place in places.to_pylist()] if interim is not None else [False] * len(rows)
    return [
        Alert(**shared, **verdict, **_of_flow(row), interim=is_open)
        for row, verdict, is_open in zip(rows, verdicts, still_open, strict=True)
    ]


def _of_flow(row: dict[str, Any]) -> dict[str, Any]:
    flow_id = row.pop(FLOW_ID)
    about = {field: row.pop(column, None) for column, field in _ENDPOINTS.items()}
    features = {name: _plain(value) for name, value in row.items() if name not in RESERVED}
    return {"flow_id": flow_id, "alert_id": alert_id(flow_id), **about, "features": features}


def _plain(value: Any) -> Any:
    """As JSON has it: no NaN, times as text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return None if value != value else value  # noqa: PLR0124 - NaN differs from itself
