"""Alerts in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netwarden.flows.alert import Alert
from netwarden.sources.alert_records import from_record, no_such_alert, page, read_cursor, to_record
from netwarden.sources.filters import FIELDS, Condition, Where, conditions
from netwarden.sources.sqlite import Database
from netwarden.sources.store import AlertPage

_COLUMNS = (*FIELDS, "features")
_FOUND_BY = ("state", "family", "source", "target", "bundle_id")  # beside the time, which orders every answer
_TABLES = "; ".join(
    [
        f"CREATE TABLE IF NOT EXISTS alerts ({', '.join(_COLUMNS)}, PRIMARY KEY (alert_id)) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS alerts_by_time ON alerts (raised_at, alert_id)",
        *(f"CREATE INDEX IF NOT EXISTS alerts_by_{name} ON alerts ({name}, raised_at, alert_id)" for name in _FOUND_BY),
    ]
)
_ADD = f"INSERT OR IGNORE INTO alerts ({', '.join(_COLUMNS)}) VALUES (:{', :'.join(_COLUMNS)})"  # noqa: S608 - our own column names
_PIECE = 500  # alerts of one transaction, some 10 ms


class EmbeddedAlertStore:
    """AlertStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _TABLES)

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new."""
        records = [to_record(alert) for alert in alerts]
        added = 0
        for start in range(0, len(records), _PIECE):
            with self._database.write() as connection:
                added += connection.executemany(_ADD, records[start : start + _PIECE]).rowcount
        return added

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            records = _records(connection, "SELECT * FROM alerts WHERE alert_id = ?", [alert_id])
        if not records:
            raise no_such_alert(alert_id)
        return from_record(records[0])

    def find(self, where: Where | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        clause, values = _clause(conditions(where))
        if cursor is not None:
            clause += " AND (raised_at, alert_id) < (?, ?)"
            values += read_cursor(cursor)
        query = f"SELECT * FROM alerts WHERE {clause} ORDER BY raised_at DESC, alert_id DESC LIMIT ?"  # noqa: S608 - fields checked, values bound
        with self._database.read() as connection:
            return page(_records(connection, query, [*values, limit + 1]), limit)

    def count(self, where: Where | None = None) -> int:
        """Alerts that meet every condition of `where`."""
        clause, values = _clause(conditions(where))
        with self._database.read() as connection:
            row = connection.execute(f"SELECT COUNT(*) FROM alerts WHERE {clause}", values).fetchone()  # noqa: S608 - as above
        return int(row[0])

    def close(self) -> None:
        self._database.close()


def _clause(wanted: list[Condition]) -> tuple[str, list[Any]]:
    operators = {"equal": "IS ?", "at_least": ">= ?", "below": "< ?"}
    parts = ["1"]
    values: list[Any] = []
    for condition in wanted:
        marks = ", ".join("?" * len(condition.values))
        parts.append(f"{condition.field} {operators.get(condition.operator, f'IN ({marks})')}")
        values += condition.values
    return " AND ".join(parts), values


def _records(connection: sqlite3.Connection, query: str, values: list[Any]) -> list[Any]:
    cursor = connection.execute(query, values)
    cursor.row_factory = sqlite3.Row
    return cursor.fetchall()
