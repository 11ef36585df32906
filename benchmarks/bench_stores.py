"""How fast rows and alerts go into the embedded stores and come back, beside bare SQLite inserts of the same ids.

    python benchmarks/bench_stores.py [ROWS]

Rows are made up: 45 columns, random ids, 4,096 a call, as ETL sends them.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from figures import record

from netwarden.flows.alert import Alert
from netwarden.sources.embedded import EmbeddedFlowStore
from netwarden.sources.embedded_alerts import EmbeddedAlertStore

CALL_ROWS = 4096
ALERTS = 20_000


def main() -> None:
    """Measure, print and keep the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 150_000
    draw = np.random.default_rng(1)
    tables = [made_up(draw) for _ in range(rows // CALL_ROWS)]
    with tempfile.TemporaryDirectory() as scratch:
        flows(Path(scratch), tables)
        alerts(Path(scratch))


def flows(scratch: Path, tables: list[Any]) -> None:
    """Figures of the flow store."""
    rows = len(tables) * CALL_ROWS
    store = EmbeddedFlowStore(scratch / "flows.sqlite")
    calls_s = [taken_s(lambda table=table: store.insert("bench", "bench", table)) for table in tables]
    bare = rows / taken_s(lambda: bare_ids(scratch / "bare.sqlite", tables))
    figures = {
        "insert": rows / sum(calls_s),
        "insert again": rows / taken_s(lambda: [store.insert("bench", "bench", table) for table in tables]),
        "scan": rows / taken_s(lambda: sum(table.num_rows for table in store.scan("bench"))),
    }
    record("stores", "bare SQLite, ids only", bare, "rows/s", rows=rows)
    for name, value in figures.items():
        record("stores", f"flows, {name}", value, "rows/s", {"bare SQLite, ids only": value / bare}, rows=rows)
    record("stores", "flows, one call, 99th percentile", float(np.percentile(calls_s, 99)) * 1e3, "ms", rows=rows)
    record("stores", "flows, summary", taken_s(lambda: store.summary("bench")) * 1e3, "ms", rows=rows)
    store.close()


def alerts(scratch: Path) -> None:
    """Figures of the alert store."""
    store = EmbeddedAlertStore(scratch / "alerts.sqlite")
    raised = [alert(number) for number in range(ALERTS)]
    record("stores", "alerts, add", ALERTS / taken_s(lambda: store.add(raised)), "alerts/s", alerts=ALERTS)
    record(
        "stores",
        "alerts, page of one family",
        taken_s(lambda: store.find({"family": "dos"})) * 1e3,
        "ms",
        alerts=ALERTS,
    )
    store.close()


def taken_s(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare_ids(path: Path, tables: list[Any]) -> None:
    """The ids alone into a table of SQLite, a transaction a call."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE ids (id BLOB PRIMARY KEY) WITHOUT ROWID")
    for table in tables:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO ids VALUES (?)", [(row,) for row in table.column("row_id").to_pylist()])
        connection.execute("COMMIT")
    connection.close()


def made_up(draw: np.random.Generator) -> Any:
    """A call's rows."""
    ids = [draw.bytes(16) for _ in range(CALL_ROWS)]
    columns = {
        **{f"count_{n}": draw.integers(0, 300, CALL_ROWS) for n in range(19)},
        **{f"rate_{n}": draw.random(CALL_ROWS).round(2) for n in range(19)},
        **{f"name_{n}": draw.choice(["tcp", "udp", "icmp"], CALL_ROWS) for n in range(3)},
        "label": draw.choice(["benign", "neptune"], CALL_ROWS),
        "split": ["train"] * CALL_ROWS,
        "source_line": np.arange(CALL_ROWS),
    }
    return pa.table({"row_id": pa.array(ids, pa.binary(16)), **columns})


def alert(number: int) -> Alert:
    """An alert with 41 features."""
    return Alert(
        alert_id=f"{number:032x}",
        flow_id=str(number),
        bundle_id="bench",
        schema_id="bench",
        raised_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number),
        score=0.9,
        threshold=0.5,
        verdict="known_attack",
        family="dos" if number % 2 else "probe",
        features={f"feature_{n}": n * 1.5 for n in range(41)},
    )


if __name__ == "__main__":
    main()
