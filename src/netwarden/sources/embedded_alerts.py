"""Alerts in one SQLite file."""

# ruff: noqa: S608 - column names in queries are our own or checked, values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from netwarden.flows.alert import Alert
from netwarden.sources.alert_records import (
    CONFIRMED,
    LATE_RECORDS_S,
    from_record,
    no_such_alert,
    page,
    read_cursor,
    to_record,
)
from netwarden.sources.embedded_trail import TRIAGE_TABLES, EmbeddedTrail
from netwarden.sources.filters import FIELDS, Condition, Where, conditions, plain
from netwarden.sources.sqlite import Database
from netwarden.sources.store import AlertPage, TriageAct, TriageChange

_COLUMNS = (*FIELDS, "features")
_FOUND_BY = ("source", "target", "bundle_id")
# Everything else is decided in one index by time, some hundred bytes an alert, before any alert is read.
_LISTED = (
    "raised_at, alert_id, state, verdict, family, score, source, target, target_port, protocol, sensor, withdrawn_at"
)
_LAYOUT = 3  # 1 had a table `alerts` that nothing was ever written to, 2 other indexes and no triage
_TABLES = "; ".join(
    [
        f"CREATE TABLE IF NOT EXISTS raised ({', '.join(_COLUMNS)}, PRIMARY KEY (alert_id)) WITHOUT ROWID",
        *(f"DROP INDEX IF EXISTS raised_by_{name}" for name in ("time", "state", "family")),
        f"CREATE INDEX IF NOT EXISTS raised_listed ON raised ({_LISTED})",
        *(f"CREATE INDEX IF NOT EXISTS raised_by_{name} ON raised ({name}, raised_at, alert_id)" for name in _FOUND_BY),
        "CREATE TABLE IF NOT EXISTS withdrawn (alert_id PRIMARY KEY, at) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS withdrawn_by_time ON withdrawn (at)",
        *TRIAGE_TABLES,
    ]
)
_ADD = (
    f"INSERT OR IGNORE INTO raised ({', '.join(_COLUMNS)}) SELECT :{', :'.join(_COLUMNS)} "
    "WHERE NOT :interim OR NOT EXISTS (SELECT 1 FROM withdrawn WHERE alert_id = :alert_id)"
)
_CONFIRM = (
    f"UPDATE raised SET {', '.join(f'{name} = :{name}' for name in CONFIRMED)} WHERE alert_id = :alert_id AND interim"
)
_PIECE = 500  # alerts of one transaction, some 10 ms


class EmbeddedAlertStore:
    """AlertStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _TABLES, _LAYOUT)
        self._trail = EmbeddedTrail(self._database)

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new. Final records take the place of early ones."""
        records = [to_record(alert) for alert in alerts]
        added = 0
        for start in range(0, len(records), _PIECE):
            piece = records[start : start + _PIECE]
            with self._database.write() as connection:
                new = connection.executemany(_ADD, piece).rowcount
                if new < len(piece):
                    connection.executemany(_CONFIRM, [record for record in piece if not record["interim"]])
            added += new
        return added

    def withdraw(self, alert_ids: Sequence[str], at: datetime) -> None:
        """Say of flows that had early records that their final ones are below the threshold."""
        now, forgotten = plain(at), plain(at - timedelta(seconds=LATE_RECORDS_S))
        for start in range(0, len(alert_ids), _PIECE):
            rows = [(now, alert_id) for alert_id in alert_ids[start : start + _PIECE]]
            with self._database.write() as connection:
                connection.executemany("INSERT OR IGNORE INTO withdrawn (at, alert_id) VALUES (?, ?)", rows)
                connection.executemany(
                    "UPDATE raised SET withdrawn_at = ?, interim = FALSE WHERE alert_id = ? AND interim", rows
                )
                connection.execute("DELETE FROM withdrawn WHERE at < ?", (forgotten,))

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            records = _records(connection, "SELECT * FROM raised WHERE alert_id = ?", [alert_id])
        if not records:
            raise no_such_alert(alert_id)
        return from_record(records[0])

    def find(self, where: Where | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        wanted = conditions(where)
        clause, values = _clause(wanted)
        if cursor is not None:
            clause += " AND (raised_at, alert_id) < (?, ?)"
            values += read_cursor(cursor)
        # The ids first, from an index alone, so that alerts which do not meet `where` are never read.
        ids = f"SELECT alert_id FROM {_table(wanted)} WHERE {clause} ORDER BY raised_at DESC, alert_id DESC LIMIT ?"
        query = f"SELECT * FROM raised WHERE alert_id IN ({ids}) ORDER BY raised_at DESC, alert_id DESC"
        with self._database.read() as connection:
            return page(_records(connection, query, [*values, limit + 1]), limit)

    def count(self, where: Where | None = None, at_most: int | None = None) -> int:
        """Alerts that meet every condition of `where`; counting stops at `at_most`."""
        wanted = conditions(where)
        clause, values = _clause(wanted)
        found = f"SELECT 1 FROM {_table(wanted)} WHERE {clause} LIMIT ?"
        with self._database.read() as connection:
            row = connection.execute(
                f"SELECT COUNT(*) FROM ({found})", [*values, -1 if at_most is None else at_most]
            ).fetchone()
        return int(row[0])

    def triage(self, act: TriageAct, where: Where | None) -> TriageAct:
        """Put all that meet every condition of `where` into the act's state."""
        wanted = conditions(where)
        clause, values = _clause(wanted)
        with self._database.read() as connection:
            found = connection.execute(
                f"SELECT alert_id FROM {_table(wanted)} WHERE ({clause}) AND state != ?", [*values, act.state]
            ).fetchall()
        return self._trail.decide(act, [row[0] for row in found])

    def undo(self, act: TriageAct) -> TriageAct:
        """Take back what the act `act.undoes` did, except to alerts that others changed since."""
        return self._trail.undo(act)

    def acts(self, limit: int = 100) -> list[TriageAct]:
        """The audit trail, newest first."""
        return self._trail.acts(limit)

    def changes(self, alert_id: str) -> list[TriageChange]:
        """What was done to one alert, newest first."""
        return self._trail.changes(alert_id)

    def close(self) -> None:
        self._database.close()


def _table(wanted: list[Condition]) -> str:
    """The table, to be read by the index that answers alone: that of an endpoint or bundle, else the wide one."""
    fields = {one.field for one in wanted} - {"raised_at"}
    narrow = [one.field for one in wanted if one.operator == "equal" and fields == {one.field}]
    name = f"by_{narrow[0]}" if narrow and narrow[0] in _FOUND_BY else "listed"
    return f"raised INDEXED BY raised_{name}"


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
