"""Tables of the embedded alert store, how alerts get into them and out again, and what older files held."""

# ruff: noqa: S608 - column names in queries are our own, values are bound

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netwarden.sources.alert_records import CELL_FIELDS, found_by
from netwarden.sources.embedded_counts import COUNT_TABLES, count_in, count_out, place
from netwarden.sources.filters import FIELDS

LAYOUT = 4  # 1 held nothing; 2 and 3 kept each alert whole, by its random id, in a table `raised`
# What is looked for comes first: reading a row stops there.
_FIRST = ("raised_at", "score", "source_key", "target_key", *CELL_FIELDS, "target_port", "alert_id", "cell")
COLUMNS = (*_FIRST, *(name for name in FIELDS if name not in _FIRST))
# An index each, ordered by time within a value, since it ends in the id.
INDEXED = {
    "score": "score",
    "source": "source_key",
    "target": "target_key",
    **{name: name for name in ("family", "verdict", "state", "suppressed_by", "sensor", "protocol", "target_port")},
    "bundle_id": "bundle_id",
}
TABLES = "; ".join(
    [
        # The id begins with the time, so the table is in its order, as are words and every index within a value.
        f"CREATE TABLE IF NOT EXISTS alert (id INTEGER PRIMARY KEY, {', '.join(COLUMNS)})",
        "CREATE UNIQUE INDEX IF NOT EXISTS alert_by_alert_id ON alert (alert_id)",
        *(f"CREATE INDEX IF NOT EXISTS alert_by_{name} ON alert ({column})" for name, column in INDEXED.items()),
        "CREATE INDEX IF NOT EXISTS alert_by_cell ON alert (cell)",
        "CREATE INDEX IF NOT EXISTS alert_by_cell_score ON alert (cell, score)",
        "CREATE TABLE IF NOT EXISTS details (id INTEGER PRIMARY KEY, features)",
        "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='', detail='none', "
        "tokenize=\"unicode61 remove_diacritics 0 tokenchars '_:.+=/-'\")",
        "CREATE TABLE IF NOT EXISTS withdrawn (alert_id PRIMARY KEY, at) WITHOUT ROWID",
        "CREATE INDEX IF NOT EXISTS withdrawn_by_time ON withdrawn (at)",
        *COUNT_TABLES,
    ]
)
TICK_IDS = 4096  # ids of one microsecond; what does not fit takes those of the next
_EPOCH_US = 946_684_800_000_000  # 2000: so ids last until 2071
_MOST = 1 << 62
_TAKEN_OVER = 500


def least_id(raised_at: int) -> int:
    """No alert raised at or after this time, in microseconds, has a smaller id."""
    return max(-_MOST, min(_MOST, (raised_at - _EPOCH_US) * TICK_IDS))


def insert(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """Store records that are new, and count them."""
    place(connection, records)
    _give_ids(connection, records)
    connection.executemany(
        f"INSERT INTO alert (id, {', '.join(COLUMNS)}) VALUES (:id, :{', :'.join(COLUMNS)})", records
    )
    connection.executemany("INSERT INTO details (id, features) VALUES (:id, :features)", records)
    connection.executemany("INSERT INTO words (rowid, text) VALUES (:id, :words)", records)
    count_in(connection, records)


def delete(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """Forget records as `whole` reads them."""
    connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', :id, :words)", records)
    connection.executemany("DELETE FROM details WHERE id = :id", records)
    connection.executemany("DELETE FROM alert WHERE id = :id", records)
    count_out(connection, records)


def rewrite(connection: sqlite3.Connection, changes: Iterable[tuple[dict[str, Any], Mapping[str, Any]]]) -> None:
    """Give records, as `whole` or `slim` read them, other values: of the same fields, each."""
    wanted = list(changes)
    if not wanted:
        return
    before, after = [record for record, _ in wanted], [{**record, **change} for record, change in wanted]
    place(connection, after)
    columns = [name for name in COLUMNS if name in wanted[0][1]]
    assigned = ", ".join(f"{name} = :{name}" for name in (*columns, "cell"))
    connection.executemany(f"UPDATE alert SET {assigned} WHERE id = :id", after)
    if "words" in wanted[0][1]:
        connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', :id, :words)", before)
        connection.executemany("INSERT INTO words (rowid, text) VALUES (:id, :words)", after)
        connection.executemany("UPDATE details SET features = :features WHERE id = :id", after)
    count_in(connection, after)
    count_out(connection, before)


def slim(connection: sqlite3.Connection, alert_ids: Iterable[str]) -> list[dict[str, Any]]:
    """What is counted of alerts, by their ids."""
    columns = ", ".join(("id", "alert_id", "raised_at", "score", "cell", "source_key", "target_key", *CELL_FIELDS))
    return rows(connection, f"SELECT {columns} FROM alert WHERE alert_id IN {LISTED}", [json.dumps(list(alert_ids))])


def whole(connection: sqlite3.Connection, alert_ids: Iterable[str]) -> list[dict[str, Any]]:
    """All of alerts, by their ids."""
    query = f"SELECT id, {', '.join(COLUMNS)}, features FROM alert JOIN details USING (id) WHERE alert_id IN {LISTED}"
    found = rows(connection, query, [json.dumps(list(alert_ids))])
    return [{**record, **found_by(record, json.loads(record["features"]))} for record in found]


LISTED = "(SELECT value FROM json_each(?))"  # values of a JSON array


def rows(connection: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """What a query finds, by the names of its columns."""
    cursor = connection.execute(query, values)
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def take_over(connection: sqlite3.Connection, found: int) -> None:
    """Alerts of a file of an older layout, the oldest first; it grows to twice its size meanwhile."""
    if found == 1:
        return
    old = connection.execute(f"SELECT {', '.join(_OLD)} FROM raised ORDER BY raised_at, alert_id")
    while piece := old.fetchmany(_TAKEN_OVER):
        records = [{**dict(zip(_OLD, row, strict=True)), "suppressed_by": None} for row in piece]
        insert(connection, [{**one, **found_by(one, json.loads(one["features"]))} for one in records])
    connection.execute("DROP TABLE raised")


_OLD = (*(name for name in FIELDS if name != "suppressed_by"), "features")


def _give_ids(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> None:
    """The first ids that are free from the time of each on."""
    nexts: dict[int, int] = {}  # tick → first free id
    for record in records:
        tick = least_id(record["raised_at"])
        while True:
            if tick not in nexts:
                last = connection.execute(
                    "SELECT MAX(id) FROM alert WHERE id >= ? AND id < ?", (tick, tick + TICK_IDS)
                ).fetchone()[0]
                nexts[tick] = tick if last is None else last + 1
            if nexts[tick] < tick + TICK_IDS:
                break
            tick += TICK_IDS
        record["id"] = nexts[tick]
        nexts[tick] += 1
