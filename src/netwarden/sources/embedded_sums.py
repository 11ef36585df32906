"""Timelines, most frequent values and groups of alerts of one SQLite file, from kept counts where these can tell."""

# ruff: noqa: S608 - column names in queries are our own or checked, values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from netwarden.sources.alert_records import (
    CELL_FIELDS,
    GROUP_FIELDS,
    NEWEST,
    SPANS_S,
    Axis,
    group_of,
    group_page,
    read_cursor,
)
from netwarden.sources.alert_store import GroupPage
from netwarden.sources.embedded_layout import rows
from netwarden.sources.embedded_query import clause_of, plan
from netwarden.sources.filters import Condition

_CELLS = 50_000  # of the latest groups, the most that are summed for `top`
_SECOND_US = 1_000_000


def ends(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Times of the first and the last alert there is, in microseconds."""
    ends = [f"(SELECT raised_at FROM alert ORDER BY id {direction} LIMIT 1)" for direction in ("ASC", "DESC")]
    found = connection.execute(f"SELECT {', '.join(ends)}").fetchone()
    return None if found[0] is None else (int(found[0]), int(found[1]))


def count_kept(connection: sqlite3.Connection, wanted: Sequence[Condition]) -> int:
    """Alerts that meet conditions on what spans are counted by."""
    clause, values = clause_of([_of_span(one) for one in wanted])
    query = f"SELECT COALESCE(SUM(count), 0) FROM spans WHERE span_s = {SPANS_S[-1]} AND {clause}"
    return int(connection.execute(query, values).fetchone()[0])


def count_spans(connection: sqlite3.Connection, wanted: Sequence[Condition], axis: Axis) -> list[tuple[int, str, int]]:
    """Place on the axis, family and number of alerts, by kept counts."""
    span_s = max(each for each in SPANS_S if axis.span_s % each == 0)
    clause, values = clause_of([_of_span(one) for one in wanted])
    query = (
        f"SELECT (start - ?) / ? AS place, family, SUM(count) FROM spans WHERE span_s = ? AND start >= ? AND start < ? "
        f"AND {clause} GROUP BY place, family"
    )
    bounds = [axis.start_s, axis.span_s, span_s, axis.start_s, axis.end_s]
    return connection.execute(query, [*bounds, *values]).fetchall()


def count_newest(
    connection: sqlite3.Connection, wanted: Sequence[Condition], axis: Axis
) -> tuple[list[tuple[int, str, int]], int | None]:
    """The same by the newest matches themselves, and where on the axis these begin, if there are more."""
    start, end = (Condition("raised_at", side, (at_s * _SECOND_US,)) for side, at_s in _sides(axis))
    query, values = plan(connection, [*wanted, start, end]).ids(NEWEST + 1)
    counted = (
        f"SELECT (raised_at / {_SECOND_US} - ?) / ? AS place, COALESCE(family, ''), COUNT(*) FROM alert "
        f"WHERE id IN ({query}) GROUP BY 1, 2"
    )
    found = connection.execute(counted, [axis.start_s, axis.span_s, *values]).fetchall()
    full = sum(row[2] for row in found) > NEWEST
    return found, min(row[0] for row in found) if full else None


def top(connection: sqlite3.Connection, field: str, wanted: Sequence[Condition], limit: int) -> list[tuple[str, int]]:
    """The most frequent values of a field."""
    if field in CELL_FIELDS and kept_in(wanted, CELL_FIELDS):
        clause, values = clause_of(wanted)
        found = f"SELECT {field} AS value, count FROM cells WHERE {clause} ORDER BY last DESC LIMIT {_CELLS}"
    else:
        query, listed = plan(connection, wanted).ids(NEWEST)
        found, values = f"SELECT {field} AS value, 1 AS count FROM alert WHERE id IN ({query})", tuple(listed)
    query = (
        f"SELECT CAST(value AS TEXT), SUM(count) AS sum FROM ({found}) WHERE value NOT NULL "
        "GROUP BY value ORDER BY sum DESC, value LIMIT ?"
    )
    return connection.execute(query, [*values, limit]).fetchall()


def groups(connection: sqlite3.Connection, wanted: Sequence[Condition], limit: int, cursor: str | None) -> GroupPage:
    """Groups of alerts that match, the one with the newest alert first."""
    if kept_in(wanted, CELL_FIELDS):
        return group_page(_kept_groups(connection, wanted, limit, cursor), limit)
    query, values = plan(connection, wanted).ids(NEWEST + 1)
    found = _newest_groups(connection, query, values, limit + 1, cursor)
    seen = connection.execute(f"SELECT COUNT(*) FROM ({query})", values).fetchone()[0]
    return group_page(found, limit, partial=seen > NEWEST)


def loudest(connection: sqlite3.Connection, wanted: Sequence[Condition], limit: int, names: Sequence[str]) -> GroupPage:
    """Groups of alerts that are alike in some of GROUP_FIELDS, the one with the most alerts first."""
    facts = ", ".join(names)
    if kept_in(wanted, CELL_FIELDS):
        clause, bound = clause_of(wanted)
        values, most = list(bound), _CELLS
        found = f"SELECT {facts}, count, first, last, worst, newest FROM cells WHERE {clause} ORDER BY last DESC"
    else:
        query, values = plan(connection, wanted).ids(NEWEST + 1)
        most, sums = NEWEST, "1 AS count, raised_at AS first, raised_at AS last, score AS worst, id AS newest"
        found = f"SELECT {facts}, {sums} FROM alert WHERE id IN ({query}) ORDER BY id DESC"
    summed = (
        f"SELECT {facts}{'' if 'target' in names else ', NULL AS target'}, NULL AS group_key, SUM(count) AS count, "
        "MIN(first) AS first, MAX(last) AS last, MAX(worst) AS worst, MAX(newest) AS newest "
        f"FROM ({found} LIMIT {most}) GROUP BY {facts} ORDER BY count DESC, last DESC LIMIT ?"
    )
    groups = rows(connection, _named(summed, order="count DESC, last DESC"), [*values, limit])
    seen = connection.execute(f"SELECT COUNT(*) FROM ({found} LIMIT {most + 1})", values).fetchone()[0]
    return GroupPage([group_of(one) for one in groups], None, partial=seen > most)


def kept_in(wanted: Sequence[Condition], fields: Sequence[str]) -> bool:
    """Whether conditions are on these fields alone."""
    return all(one.field in fields and one.operator != "words" for one in wanted)


def _kept_groups(
    connection: sqlite3.Connection, wanted: Sequence[Condition], limit: int, cursor: str | None
) -> list[dict[str, Any]]:
    """A group is where its newest cell is that matches; all of its cells that match are summed."""
    clause, values = clause_of(wanted)
    after, since = ("", ()) if cursor is None else ("AND (last, group_key) < (?, ?)", read_cursor(cursor))
    newest = (
        f"SELECT group_key FROM cells AS mine WHERE {clause} {after} AND NOT EXISTS (SELECT 1 FROM cells WHERE "
        f"group_key = mine.group_key AND {clause} AND (last, cell) > (mine.last, mine.cell)) "
        "ORDER BY last DESC, group_key DESC LIMIT ?"
    )
    sums = "SUM(count) AS count, MIN(first) AS first, MAX(last) AS last, MAX(worst) AS worst, MAX(newest) AS newest"
    query = _named(
        f"SELECT {', '.join(GROUP_FIELDS)}, group_key, {sums} FROM cells "
        f"WHERE group_key IN ({newest}) AND {clause} GROUP BY group_key"
    )
    return rows(connection, query, [*values, *since, *values, limit + 1, *values])


def _named(groups: str, after: str = "1", order: str = "last DESC, group_key DESC") -> str:
    """Groups in order, with the newest alert by its own id."""
    names = ", ".join((*GROUP_FIELDS, "group_key", "count", "first", "last", "worst"))
    newest = "(SELECT alert_id FROM alert WHERE id = newest) AS newest"
    return f"SELECT {names}, {newest} FROM ({groups}) WHERE {after} ORDER BY {order}"


def _newest_groups(
    connection: sqlite3.Connection, ids: str, values: Sequence[Any], limit: int, cursor: str | None
) -> list[dict[str, Any]]:
    sums = "COUNT(*) AS count, MIN(raised_at) AS first, MAX(raised_at) AS last, MAX(score) AS worst, MAX(id) AS newest"
    summed = (
        f"SELECT {', '.join(GROUP_FIELDS)}, (SELECT group_key FROM cells WHERE cell = alert.cell) AS group_key, {sums} "
        f"FROM alert WHERE id IN ({ids}) GROUP BY {', '.join(GROUP_FIELDS)}"
    )
    after, since = ("1", ()) if cursor is None else ("(last, group_key) < (?, ?)", read_cursor(cursor))
    return rows(connection, f"{_named(summed, after)} LIMIT ?", [*values, *since, limit])


def _of_span(one: Condition) -> Condition:
    """A condition as spans hold its values: empty where alerts have none."""
    return Condition(one.field, one.operator, tuple("" if value is None else value for value in one.values))


def _sides(axis: Axis) -> list[tuple[Any, int]]:
    return [("at_least", axis.start_s), ("below", axis.end_s)]
