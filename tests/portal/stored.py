"""Alerts for the portal to show: made-up flows that alert, between hosts of a small network."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa

from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.alert import Alert
from netwarden.flows.table import FlowTable
from netwarden.scoring.alerts import alerts_of
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings
from netwarden.sources.connect import open_alert_store

_PORTS = (22, 80, 443, 3389)


def made_up_alerts(bundle: DetectorBundle, flows: FlowTable, end: datetime) -> list[Alert]:
    """An alert every seven seconds until `end`, from four hosts to nine."""
    features = flows.arrow.drop_columns(["label", "family"])
    names = pa.array([f"flow-{number}" for number in range(len(flows))])
    table = replace(flows, arrow=features.append_column("flow_id", names))
    result = Scorer(bundle).score(replace(flows, arrow=features))
    found = alerts_of(table, result, bundle.bundle_id, origin="live", raised_at=end, sensor="edge")
    return [_placed(alert, number, end) for number, alert in enumerate(found)]


def store_alerts(settings: Settings, alerts: list[Alert]) -> None:
    """Put alerts where the portal looks for them."""
    with closing(open_alert_store(settings)) as store:
        store.add(alerts)


def _placed(alert: Alert, number: int, end: datetime) -> Alert:
    at = end - timedelta(seconds=7 * number)
    return alert.model_copy(
        update={
            "raised_at": at,
            "started_at": at - timedelta(seconds=2),
            "source": f"10.0.0.{number % 4 + 1}",
            "source_port": 40_000 + number,
            "target": f"192.168.1.{number % 9 + 10}",
            "target_port": _PORTS[number % 4],
            "protocol": 6 if number % 5 else 17,
            "sensor": "edge" if number % 3 else "core",
            "features": {**alert.features, "community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
        }
    )
