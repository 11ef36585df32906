"""The registry's event log and the leases in one SQLite file."""

from __future__ import annotations

import json
import time
from pathlib import Path

from netwarden.sources.registry import LogRecord, record_as_dict, record_from
from netwarden.sources.sqlite import Database

_TABLES = """
CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY, record TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS history_never_changes BEFORE UPDATE ON events
  BEGIN SELECT RAISE(ABORT, 'the history of the registry is only ever appended to'); END;
CREATE TRIGGER IF NOT EXISTS history_never_shrinks BEFORE DELETE ON events
  BEGIN SELECT RAISE(ABORT, 'the history of the registry is only ever appended to'); END;
CREATE TABLE IF NOT EXISTS leases (
  name TEXT PRIMARY KEY, holder TEXT NOT NULL, token TEXT NOT NULL, expires_at REAL NOT NULL)
"""


def _open(path: Path) -> Database:
    return Database(path, _TABLES)


class EmbeddedEventLog:
    """EventLog in one file."""

    def __init__(self, path: Path) -> None:
        self._database = _open(path)

    def records(self) -> list[LogRecord]:
        """All records, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT record FROM events ORDER BY position").fetchall()
        return [record_from(json.loads(row)) for (row,) in rows]

    def append(self, position: int, record: LogRecord) -> bool:
        """Add a record as number `position`; False where another writer has taken that place."""
        text = json.dumps(record_as_dict(record))
        with self._database.write() as connection:
            added = connection.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (position, text))
            return added.rowcount == 1

    def close(self) -> None:
        self._database.close()


class EmbeddedLeaseTable:
    """LeaseTable in the same file, by this machine's clock."""

    def __init__(self, path: Path) -> None:
        self._database = _open(path)

    def take(self, name: str, holder: str, token: str, ttl_s: float) -> str | None:
        """Take or renew a lease; returns the present holder where another has it."""
        with self._database.write() as connection:
            now = time.time()
            row = connection.execute("SELECT holder, token, expires_at FROM leases WHERE name = ?", (name,)).fetchone()
            if row and row[1] != token and row[2] > now:
                return str(row[0])
            connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (name, holder, token, now + ttl_s))
        return None

    def give_back(self, name: str, token: str) -> None:
        """End a lease, if it is still this token's."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM leases WHERE name = ? AND token = ?", (name, token))

    def holder(self, name: str) -> str | None:
        """Who holds a lease now; None: nobody."""
        with self._database.read() as connection:
            wanted = "SELECT holder FROM leases WHERE name = ? AND expires_at > ?"
            row = connection.execute(wanted, (name, time.time())).fetchone()
        return str(row[0]) if row else None

    def close(self) -> None:
        self._database.close()
