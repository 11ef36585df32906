"""How the embedded alert store looks for alerts: one index leads, chosen by how much each would have to be read."""

# ruff: noqa: S608 - column names in queries are our own or checked, values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netwarden.sources.alert_words import address_key
from netwarden.sources.embedded_layout import INDEXED, TICK_IDS, least_id
from netwarden.sources.filters import ADDRESSES, Condition, pairs

_LATE_IDS = 1_000_000 * TICK_IDS  # a second: how far beyond its time an id may lie where very many came at once
_READ_SORTED = 100_000  # alerts that an index in order of time may lead to before one goes through all by time
_READ_ALL = 20_000  # the same of an index whose alerts must all be read and sorted
_ASK_EACH = 3_000  # alerts that may be asked one by one whether they hold words
_MOST_WORDS = 200  # that begin alike and are asked for one by one
_OPERATORS = {"equal": "IS ?", "at_least": ">= ?", "below": "< ?"}


@dataclass(frozen=True)
class Plan:
    """The tables, the condition with its values, and the id that says the order: what a query is made of."""

    tables: str
    clause: str
    values: tuple[Any, ...]
    order: str

    def ids(self, limit: int, oldest_first: bool = False) -> tuple[str, list[Any]]:
        """A query for ids, the newest first, and its values."""
        direction = "ASC" if oldest_first else "DESC"
        query = f"SELECT {self.order} AS id FROM {self.tables} WHERE {self.clause} ORDER BY {self.order} {direction}"
        return f"{query} LIMIT ?", [*self.values, limit]

    def number(self, at_most: int) -> tuple[str, list[Any]]:
        """A query for their number, up to a limit (-1: none), and its values."""
        found = f"SELECT 1 FROM {self.tables} WHERE {self.clause} LIMIT ?"
        return f"SELECT COUNT(*) FROM ({found})", [*self.values, at_most]


def plan(connection: sqlite3.Connection, wanted: Sequence[Condition], before_id: int | None = None) -> Plan:
    """How to find alerts that meet all conditions, of those with smaller ids than `before_id`."""
    words = [one for one in wanted if one.operator == "words"]
    facts = [one for one in wanted if one.operator != "words"]
    index = _leading(connection, facts, bool(words))
    clause, values = clause_of([*facts, *_times(facts)])
    if before_id is not None:
        clause, values = f"{clause} AND alert.id < ?", (*values, before_id)
    if not words:
        return Plan(f"alert {f'INDEXED BY alert_by_{index}' if index else 'NOT INDEXED'}", clause, values, "alert.id")
    asked = " AND ".join(_match(connection, str(word)) for one in words for word in one.values)
    if index:
        clause += " AND EXISTS (SELECT 1 FROM words WHERE words MATCH ? AND words.rowid = alert.id)"
        return Plan(f"alert INDEXED BY alert_by_{index}", clause, (*values, asked), "alert.id")
    if facts or before_id is not None:
        tables = "words CROSS JOIN alert ON alert.id = words.rowid"
        return Plan(tables, f"words MATCH ? AND {clause}", (asked, *values), "words.rowid")
    return Plan("words", "words MATCH ?", (asked,), "words.rowid")


def clause_of(wanted: Sequence[Condition]) -> tuple[str, tuple[Any, ...]]:
    """Conditions as SQL and its values."""
    parts = ["1"]
    values: list[Any] = []
    for one in wanted:
        part, bound = _part(one)
        parts.append(part)
        values += bound
    return " AND ".join(parts), tuple(values)


def _match(connection: sqlite3.Connection, word: str) -> str:
    """A word as the index of words is asked for it.

    How words begin is asked as those that begin so, where they are few: for the beginning itself SQLite gathers all
    that it leads to before it gives the newest.
    """
    if not word.endswith("*"):
        return f'"{word}"'
    known = _beginning(connection, word[:-1])
    return f"({' OR '.join(known)})" if 0 < len(known) <= _MOST_WORDS else f'"{word[:-1]}"*'


def _beginning(connection: sqlite3.Connection, start: str) -> list[str]:
    """Quoted words of the index that begin so, at most one more than are of use."""
    connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.known_words USING fts5vocab(main, words, instance)")
    found: list[str] = []
    following = connection.execute("SELECT term FROM known_words WHERE term >= ? LIMIT 1", (start,)).fetchone()
    while following and following[0].startswith(start) and len(found) <= _MOST_WORDS:
        found.append(f'"{following[0]}"')
        following = connection.execute("SELECT term FROM known_words WHERE term > ? LIMIT 1", following).fetchone()
    return found


def _part(one: Condition) -> tuple[str, tuple[Any, ...]]:
    if one.operator in ("within", "outside"):
        column = f"{one.field}_key"
        inside = " OR ".join([f"({column} >= ? AND {column} <= ?)"] * len(pairs(one.values))) or "0"
        return (f"({inside})" if one.operator == "within" else f"({column} NOT NULL AND NOT ({inside}))"), one.values
    marks = ", ".join("?" * len(one.values))
    if one.operator in ("equal", "one_of") and one.field in ADDRESSES:  # the index is one of keys
        same, keys = _part(_by_key(one))
        own = f"{one.field} IS ?" if one.operator == "equal" else f"{one.field} IN ({marks})"
        return f"{same} AND {own}", (*keys, *one.values)
    return f"{one.field} {_OPERATORS.get(one.operator, f'IN ({marks})')}", one.values


def _times(wanted: Sequence[Condition]) -> list[Condition]:
    """Bounds of ids that go with those of times."""
    found: list[Condition] = []
    for one in wanted:
        if one.field == "raised_at" and isinstance(one.values[0], int):
            at = least_id(one.values[0])
            if one.operator in ("at_least", "equal"):
                found.append(Condition("id", "at_least", (at,)))
            if one.operator in ("below", "equal"):
                found.append(Condition("id", "below", (at + _LATE_IDS,)))
    return found


def _leading(connection: sqlite3.Connection, wanted: Sequence[Condition], words: bool) -> str:
    """Name of the index to begin with; empty: go through all by time, or by words."""
    fields = list(dict.fromkeys(one.field for one in wanted if one.field in INDEXED or one.field == "raised_at"))
    if not words and len(wanted) == 1 and wanted[0].operator == "equal" and fields and fields[0] in INDEXED:
        return fields[0]  # in order of time already
    best, least = "", _ASK_EACH if words else _READ_SORTED
    for field in fields:
        mine = [one for one in wanted if one.field == field]
        sorted_by_time = any(one.operator == "equal" for one in mine)
        most = min(least, _READ_SORTED if sorted_by_time or field == "raised_at" else _READ_ALL)
        found = _number(connection, field, mine, most)
        if found < most:
            best, least = field, found
    return best if best in INDEXED else ""


def _number(connection: sqlite3.Connection, field: str, wanted: Sequence[Condition], at_most: int) -> int:
    """How many the index leads to, up to a limit, told by the index alone."""
    clause, values = clause_of(_times(wanted) if field == "raised_at" else [_by_key(one) for one in wanted])
    tables = "alert NOT INDEXED" if field == "raised_at" else f"alert INDEXED BY alert_by_{field}"
    query = f"SELECT COUNT(*) FROM (SELECT 1 FROM {tables} WHERE {clause} LIMIT ?)"
    return int(connection.execute(query, [*values, at_most]).fetchone()[0])


def _by_key(one: Condition) -> Condition:
    """A condition on an address as one on its key, which is what the index holds."""
    if one.field not in ADDRESSES or one.operator not in ("equal", "one_of"):
        return one
    keys = tuple(None if value is None else address_key(str(value)) for value in one.values)
    return Condition(f"{one.field}_key", one.operator, keys)
