"""What the portal remembers, in one SQLite file."""

# ruff: noqa: S608 - column names in queries are our own, values are bound

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netwarden.sources.portal_store import LINE_FIELDS, AuditLine, AuditPage, line_of, line_record, page_of
from netwarden.sources.sqlite import Database

_LINE = ", ".join(LINE_FIELDS)
_TABLES = f"""
CREATE TABLE IF NOT EXISTS audit ({_LINE}, PRIMARY KEY (line_id)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS audit_never_changes BEFORE UPDATE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is only ever appended to'); END;
CREATE TRIGGER IF NOT EXISTS audit_never_shrinks BEFORE DELETE ON audit
  BEGIN SELECT RAISE(ABORT, 'the audit log is only ever appended to'); END;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)
"""


class EmbeddedPortalStore:
    """PortalStore in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _TABLES)

    def append(self, line: AuditLine) -> None:
        """Add a line."""
        with self._database.write() as connection:
            connection.execute(f"INSERT INTO audit ({_LINE}) VALUES (:{', :'.join(LINE_FIELDS)})", line_record(line))

    def lines(self, limit: int = 100, cursor: str | None = None, who: str = "", action: str = "") -> AuditPage:
        """Lines, newest first, of a person and an action where they are given."""
        wanted = {"line_id < ?": cursor, "who = ?": who, "action = ?": action}
        clauses = " AND ".join(["1", *(clause for clause, value in wanted.items() if value)])
        values = [*(value for value in wanted.values() if value), limit + 1]
        query = f"SELECT {_LINE} FROM audit WHERE {clauses} ORDER BY line_id DESC LIMIT ?"
        with self._database.read() as connection:
            rows = connection.execute(query, values).fetchall()
        return page_of([line_of(dict(zip(LINE_FIELDS, row, strict=True))) for row in rows], limit)

    def note(self, name: str) -> dict[str, Any]:
        """What was last kept under a name; empty where nothing was."""
        with self._database.read() as connection:
            row = connection.execute("SELECT value FROM notes WHERE name = ?", [name]).fetchone()
        value: dict[str, Any] = json.loads(row[0]) if row else {}
        return value

    def keep_note(self, name: str, value: dict[str, Any]) -> None:
        """Keep plain values under a name, in place of those there."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", [name, json.dumps(value)])

    def close(self) -> None:
        self._database.close()
