"""Counts beside the alerts of one SQLite file, changed in the transaction of what they count: cells and spans of time.

A cell is what alerts have in common that are alike in CELL_FIELDS; groups are sums of cells.
"""

# ruff: noqa: S608 - column names in queries are our own, values are bound

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from netwarden.sources.alert_records import CELL_FIELDS, GROUP_FIELDS, SPAN_FIELDS, SPANS_S, cell_key

_CELL = ("cell_key", "group_key", *CELL_FIELDS, "source_key", "target_key")
COUNT_TABLES = (
    f"CREATE TABLE IF NOT EXISTS cells (cell INTEGER PRIMARY KEY, {', '.join(_CELL)}, "
    "count, first, last, newest, worst)",
    "CREATE UNIQUE INDEX IF NOT EXISTS cells_by_key ON cells (cell_key)",
    "CREATE INDEX IF NOT EXISTS cells_by_group ON cells (group_key)",
    "CREATE INDEX IF NOT EXISTS cells_by_last ON cells (last, group_key)",
    "CREATE INDEX IF NOT EXISTS cells_by_source ON cells (source)",
    "CREATE INDEX IF NOT EXISTS cells_by_target ON cells (target)",
    # Empty text where an alert has no family, or nothing hides it: null is no part of a key.
    f"CREATE TABLE IF NOT EXISTS spans (span_s, start, {', '.join(SPAN_FIELDS)}, count, "
    f"PRIMARY KEY (span_s, start, {', '.join(SPAN_FIELDS)})) WITHOUT ROWID",
)
_ARRIVE = (
    "UPDATE cells SET count = count + ?, first = MIN(COALESCE(first, ?2), ?2), last = MAX(COALESCE(last, ?3), ?3), "
    "newest = MAX(COALESCE(newest, ?4), ?4), worst = MAX(COALESCE(worst, ?5), ?5) WHERE cell = ?6"
).replace("count + ?,", "count + ?1,")
_OF_CELL = "FROM alert INDEXED BY alert_by_cell WHERE cell = ?1 ORDER BY id"
_LEAVE = (
    f"UPDATE cells SET count = count - ?2, first = (SELECT raised_at {_OF_CELL} LIMIT 1), "
    f"last = (SELECT raised_at {_OF_CELL} DESC LIMIT 1), newest = (SELECT id {_OF_CELL} DESC LIMIT 1), "
    "worst = (SELECT MAX(score) FROM alert INDEXED BY alert_by_cell_score WHERE cell = ?1) WHERE cell = ?1"
)
_SPAN = (
    f"INSERT INTO spans (span_s, start, {', '.join(SPAN_FIELDS)}, count) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET count = count + excluded.count"
)


def place(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """Tell each record its cell, made where there is none yet; addresses of a record that has no keys are known."""
    cells: dict[tuple[Any, ...], int] = {}
    for record in records:
        facts = tuple(record[name] for name in CELL_FIELDS)
        if facts not in cells:
            cells[facts] = _cell_of(connection, cell_key(record), record)
        record["cell"] = cells[facts]


def count_in(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """Count records that were stored, in their cells."""
    arrived: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        arrived[record["cell"]].append(record)
    connection.executemany(
        _ARRIVE,
        [
            (
                len(found),
                min(one["raised_at"] for one in found),
                max(one["raised_at"] for one in found),
                max(one["id"] for one in found),
                max(one["score"] for one in found),
                cell,
            )
            for cell, found in arrived.items()
        ],
    )
    _count_spans(connection, records, 1)


def count_out(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """Take records out of the counts of the cells they were in; they are gone from there already."""
    left = Counter(record["cell"] for record in records)
    connection.executemany(_LEAVE, list(left.items()))
    connection.executemany("DELETE FROM cells WHERE cell = ? AND count = 0", [(cell,) for cell in left])
    _count_spans(connection, records, -1)


def _cell_of(connection: sqlite3.Connection, key: str, record: dict[str, Any]) -> int:
    found = connection.execute("SELECT cell FROM cells WHERE cell_key = ?", (key,)).fetchone()
    if found is not None:
        return int(found[0])
    facts = {**record, "cell_key": key, "group_key": cell_key(record, GROUP_FIELDS)}
    made = connection.execute(f"INSERT INTO cells ({', '.join(_CELL)}, count) VALUES (:{', :'.join(_CELL)}, 0)", facts)
    return int(made.lastrowid or 0)


def _count_spans(connection: sqlite3.Connection, records: Sequence[dict[str, Any]], sign: int) -> None:
    changed: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        facts = tuple(record[name] or "" for name in SPAN_FIELDS)
        for span_s in SPANS_S:
            changed[(span_s, record["raised_at"] // (span_s * 1_000_000) * span_s, *facts)] += sign
    connection.executemany(_SPAN, [(*key, count) for key, count in changed.items()])
    if sign < 0:
        keys = " AND ".join(f"{name} = ?" for name in ("span_s", "start", *SPAN_FIELDS))
        connection.executemany(f"DELETE FROM spans WHERE {keys} AND count = 0", list(changed))
