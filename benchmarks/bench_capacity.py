"""What `netwarden plan` counts with beside the other figures: bytes of a flow on its way, of an alert kept.

    python benchmarks/bench_capacity.py

The flows are those of the lab, with every column that the meter writes.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from figures import record
from pyarrow import csv

from netwarden.flows.alert import Alert
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.streaming.batch import to_ipc

ROOT = Path(__file__).parents[1]
ALERTS = 20_000
FEW, MANY = 100, 2048  # flows of a batch: of a second of a small network, and as many as there can be


def main() -> None:
    """Measure, print and keep the figures."""
    files = sorted((ROOT / "lab/data").glob("*.csv.gz"))
    flows = max((csv.read_csv(file) for file in files), key=lambda table: table.num_rows)
    for rows in (FEW, MANY):
        body = to_ipc(flows.slice(0, rows))
        record("capacity", f"flow in a batch of {rows}", len(body) / rows, "bytes", columns=flows.num_columns)
    with tempfile.TemporaryDirectory() as scratch:
        _alerts(Path(scratch), flows.slice(0, MANY).to_pylist())


def _alerts(scratch: Path, rows: list[dict[str, Any]]) -> None:
    raised = [_alert(number, rows[number % len(rows)]) for number in range(ALERTS)]
    store = EmbeddedAlertStore(scratch / "alerts.sqlite")
    began = time.perf_counter()
    for start in range(0, ALERTS, MANY):
        store.add(raised[start : start + MANY])
    record("capacity", "alerts into the embedded store", ALERTS / (time.perf_counter() - began), "alerts/s")
    store.close()
    size = sum(path.stat().st_size for path in scratch.iterdir())
    record("capacity", "alert in the embedded store", size / ALERTS, "bytes", alerts=ALERTS)


def _alert(number: int, flow: dict[str, Any]) -> Alert:
    return Alert(
        alert_id=f"{number:032x}",
        flow_id=f"{number:032x}",
        bundle_id="bench",
        schema_id="cic_flow",
        raised_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number),
        score=0.9,
        threshold=0.5,
        verdict="known_attack",
        family="dos" if number % 2 else "probe",
        features={name: value for name, value in flow.items() if isinstance(value, int | float)},
    )


if __name__ == "__main__":
    main()
