"""What hides alerts, beside the alerts of one SQLite file."""

# ruff: noqa: S608 - column names in queries are our own, values are bound

from __future__ import annotations

import sqlite3
from dataclasses import fields, replace
from datetime import datetime

from netwarden.sources.alert_records import (
    AFTER_ALL,
    Hiding,
    hides,
    no_such_suppression,
    suppression_of,
    suppression_record,
)
from netwarden.sources.alert_store import Suppression
from netwarden.sources.embedded_layout import rewrite, rows, slim, whole
from netwarden.sources.embedded_query import plan
from netwarden.sources.filters import conditions, plain
from netwarden.sources.sqlite import Database

_NAMES = tuple(field.name for field in fields(Suppression) if field.name != "hidden")
_COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)  # "where" is a word of SQL
SUPPRESSION_TABLES = (
    f"CREATE TABLE IF NOT EXISTS suppressions ({_COLUMNS}, PRIMARY KEY (suppression_id)) WITHOUT ROWID",
)
_PIECE = 500  # alerts of one transaction
_HIDDEN = "SELECT suppressed_by, SUM(count) FROM spans WHERE span_s = 3600 AND suppressed_by != '' GROUP BY 1"


class EmbeddedSuppressions:
    """Hides alerts and shows them again, a piece at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def suppress(self, suppression: Suppression) -> Suppression:
        """From its first transaction on, new alerts are hidden; those that are there follow."""
        wanted = [*conditions(hides(suppression)), *conditions({"suppressed_by": None})]
        with self._database.write() as connection:
            connection.execute(
                f"INSERT INTO suppressions ({_COLUMNS}) VALUES (:{', :'.join(_NAMES)})",
                suppression_record(suppression),
            )
            query, values = plan(connection, wanted).ids(-1)
            found = [row[0] for row in connection.execute(f"SELECT alert_id FROM alert WHERE id IN ({query})", values)]
        for start in range(0, len(found), _PIECE):
            with self._database.write() as connection:
                shown = [one for one in slim(connection, found[start : start + _PIECE]) if one["suppressed_by"] is None]
                rewrite(connection, [(one, {"suppressed_by": suppression.suppression_id}) for one in shown])
        return self._one(suppression.suppression_id)

    def lift(self, suppression_id: str, who: str, at: datetime) -> Suppression:
        """Show again what it hid, unless another hides it."""
        with self._database.write() as connection:
            query = (
                "UPDATE suppressions SET lifted_at = ?, lifted_by = ? WHERE suppression_id = ? AND lifted_at IS NULL"
            )
            connection.execute(query, (plain(at), who, suppression_id))
        lifted = self._one(suppression_id)
        while True:
            with self._database.write() as connection:
                query = "SELECT alert_id FROM alert WHERE suppressed_by = ? LIMIT ?"
                piece = [row[0] for row in connection.execute(query, (suppression_id, _PIECE))]
                if not piece:
                    return replace(lifted, hidden=0)
                hiding = hiding_in(connection)
                rewrite(connection, [(one, {"suppressed_by": hiding.by(one)}) for one in whole(connection, piece)])

    def all(self, limit: int, before: str) -> list[Suppression]:
        """Newest first, those before an id."""
        older = "WHERE suppression_id < ? ORDER BY suppression_id DESC LIMIT ?"
        with self._database.read() as connection:
            return _read(connection, older, before or AFTER_ALL, limit)

    def _one(self, suppression_id: str) -> Suppression:
        with self._database.read() as connection:
            found = _read(connection, "WHERE suppression_id = ?", suppression_id)
        if not found:
            raise no_such_suppression(suppression_id)
        return found[0]


def hiding_in(connection: sqlite3.Connection) -> Hiding:
    """What hides alerts now."""
    return Hiding.of(_read(connection, "WHERE lifted_at IS ?", None, counted=False))


def _read(connection: sqlite3.Connection, which: str, *values: object, counted: bool = True) -> list[Suppression]:
    found = rows(connection, f"SELECT * FROM suppressions {which}", values)
    hidden = dict(connection.execute(_HIDDEN).fetchall()) if found and counted else {}
    return [suppression_of(one, hidden.get(one["suppression_id"], 0)) for one in found]
