"""Alerts in one SQLite file."""

# ruff: noqa: S608 - column names in queries are our own or checked, values are bound

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from netwarden.flows.alert import Alert
from netwarden.sources import embedded_sums
from netwarden.sources.alert_records import (
    CONFIRMED,
    LATE_RECORDS_S,
    SPAN_FIELDS,
    Axis,
    from_record,
    loudest_fields,
    no_such_alert,
    page,
    read_cursor,
    to_record,
)
from netwarden.sources.alert_store import AlertPage, GroupPage, Suppression, TimeBin, TriageAct, TriageChange
from netwarden.sources.embedded_layout import (
    LAYOUT,
    LISTED,
    TABLES,
    delete,
    insert,
    least_id,
    rewrite,
    rows,
    take_over,
    whole,
)
from netwarden.sources.embedded_query import plan
from netwarden.sources.embedded_suppressions import SUPPRESSION_TABLES, EmbeddedSuppressions, hiding_in
from netwarden.sources.embedded_trail import TRIAGE_TABLES, EmbeddedTrail
from netwarden.sources.filters import FIELDS, Where, conditions, plain
from netwarden.sources.sqlite import Database

_PIECE = 500  # alerts of one transaction, some 50 ms


class EmbeddedAlertStore:
    """AlertStore in one file."""

    def __init__(self, path: Path) -> None:
        layout = "; ".join([TABLES, *TRIAGE_TABLES, *SUPPRESSION_TABLES])
        self._database = Database(path, layout, LAYOUT, upgrade=take_over)
        self._trail = EmbeddedTrail(self._database)
        self._suppressions = EmbeddedSuppressions(self._database)

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new. Final records take the place of early ones."""
        added = 0
        for start in range(0, len(alerts), _PIECE):
            records = [to_record(alert) for alert in alerts[start : start + _PIECE]]
            with self._database.write() as connection:
                added += _add(connection, records)
        return added

    def withdraw(self, alert_ids: Sequence[str], at: datetime) -> None:
        """Say of flows that had early records that their final ones are below the threshold."""
        now, forgotten = plain(at), plain(at - timedelta(seconds=LATE_RECORDS_S))
        for start in range(0, len(alert_ids), _PIECE):
            told = [(now, alert_id) for alert_id in alert_ids[start : start + _PIECE]]
            with self._database.write() as connection:
                connection.executemany("INSERT OR IGNORE INTO withdrawn (at, alert_id) VALUES (?, ?)", told)
                connection.executemany(
                    "UPDATE alert SET withdrawn_at = ?, interim = FALSE WHERE alert_id = ? AND interim", told
                )
                connection.execute("DELETE FROM withdrawn WHERE at < ?", (forgotten,))

    def remove(self, where: Where, at_most: int) -> int:
        """Forget alerts that meet every condition of `where`, the oldest first; returns how many."""
        wanted = conditions(where)
        removed = 0
        while removed < at_most:
            with self._database.write() as connection:
                query, values = plan(connection, wanted).ids(min(_PIECE, at_most - removed), oldest_first=True)
                ids = connection.execute(f"SELECT alert_id FROM alert WHERE id IN ({query})", values).fetchall()
                delete(connection, whole(connection, [row[0] for row in ids]))
            if not ids:
                break
            removed += len(ids)
        return removed

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        with self._database.read() as connection:
            found = rows(connection, f"{_ALERT} WHERE alert_id = ?", [alert_id])
        if not found:
            raise no_such_alert(alert_id)
        return from_record(found[0])

    def find(self, where: Where | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        wanted = conditions(where)
        with self._database.read() as connection:
            before = None if cursor is None else _id_of(connection, cursor)
            ids, values = plan(connection, wanted, before).ids(limit + 1)
            found = rows(connection, f"{_ALERT} WHERE id IN ({ids}) ORDER BY id DESC", values)
        return page(found, limit)

    def count(self, where: Where | None = None, at_most: int | None = None) -> int:
        """Alerts that meet every condition of `where`; counting stops at `at_most`."""
        wanted = conditions(where)
        with self._database.read() as connection:
            if embedded_sums.kept_in(wanted, SPAN_FIELDS):
                found = embedded_sums.count_kept(connection, wanted)
                return found if at_most is None else min(found, at_most)
            query, values = plan(connection, wanted).number(-1 if at_most is None else at_most)
            return int(connection.execute(query, values).fetchone()[0])

    def timeline(
        self, where: Where | None = None, since: datetime | None = None, until: datetime | None = None, bins: int = 60
    ) -> list[TimeBin]:
        """Alerts over time in at most `bins` equal spans of whole minutes, the oldest first, without gap."""
        wanted = conditions(where)
        with self._database.read() as connection:
            ends = embedded_sums.ends(connection)
            if ends is None:
                return []
            first, last = (_time(since, ends[0]), _time(until, ends[1] + 1))
            axis = Axis.over(first, last, bins)
            if embedded_sums.kept_in(wanted, SPAN_FIELDS):
                return axis.filled(embedded_sums.count_spans(connection, wanted, axis))
            return axis.filled(*embedded_sums.count_newest(connection, wanted, axis))

    def top(self, field: str, where: Where | None = None, limit: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of a field of alerts that match, most frequent first."""
        conditions({field: None})  # says where there is no such field
        wanted = conditions(where)
        with self._database.read() as connection:
            return embedded_sums.top(connection, field, wanted, limit)

    def groups(self, where: Where | None = None, limit: int = 50, cursor: str | None = None) -> GroupPage:
        """Repeats: alerts that match, by source, target, family and verdict."""
        wanted = conditions(where)
        with self._database.read() as connection:
            return embedded_sums.groups(connection, wanted, limit, cursor)

    def loudest(self, where: Where | None = None, limit: int = 50, *, by_source: bool = False) -> GroupPage:
        """Repeats with the most alerts, the most first, without further pages."""
        wanted = conditions(where)
        with self._database.read() as connection:
            return embedded_sums.loudest(connection, wanted, limit, loudest_fields(by_source))

    def triage(self, act: TriageAct, where: Where | None) -> TriageAct:
        """Put all that meet every condition of `where` into the act's state."""
        wanted = conditions(where)
        with self._database.read() as connection:
            query, values = plan(connection, wanted).ids(-1)
            found = connection.execute(
                f"SELECT alert_id FROM alert WHERE id IN ({query}) AND state != ?", [*values, act.state]
            ).fetchall()
        return self._trail.decide(act, [row[0] for row in found])

    def undo(self, act: TriageAct) -> TriageAct:
        """Take back what the act `act.undoes` did, except to alerts that others changed since."""
        return self._trail.undo(act)

    def acts(self, limit: int = 100, before: str = "") -> list[TriageAct]:
        """The audit trail, newest first; with `before`, an act's id, those older than it."""
        return self._trail.acts(limit, before)

    def changes(self, alert_id: str) -> list[TriageChange]:
        """What was done to one alert, newest first."""
        return self._trail.changes(alert_id)

    def suppress(self, suppression: Suppression) -> Suppression:
        """Hide what meets its filter, that which is there and that which comes; returns it with what it hides."""
        return self._suppressions.suppress(suppression)

    def lift(self, suppression_id: str, who: str, at: datetime) -> Suppression:
        """Show again what a suppression hid, unless another one hides it. Raises NotFoundError."""
        return self._suppressions.lift(suppression_id, who, at)

    def suppressions(self, limit: int = 1000, before: str = "") -> list[Suppression]:
        """Newest first, the lifted and expired ones too; with `before`, an id, those older than it."""
        return self._suppressions.all(limit, before)

    def close(self) -> None:
        self._database.close()


_ALERT = f"SELECT {', '.join(FIELDS)}, features FROM alert JOIN details USING (id)"


def _add(connection: sqlite3.Connection, records: Sequence[dict[str, Any]]) -> int:
    """Store records not there yet, confirm early ones by final ones; returns how many were new."""
    ids = json.dumps([record["alert_id"] for record in records])
    early = dict(connection.execute(f"SELECT alert_id, interim FROM alert WHERE alert_id IN {LISTED}", [ids]))
    late = {row[0] for row in connection.execute(f"SELECT alert_id FROM withdrawn WHERE alert_id IN {LISTED}", [ids])}
    new: dict[str, dict[str, Any]] = {}
    final: dict[str, dict[str, Any]] = {}
    for record in records:
        name = record["alert_id"]
        if name in early:
            if early[name] and not record["interim"]:
                final.setdefault(name, record)
        elif name not in new:
            if not record["interim"] or name not in late:
                new[name] = record
        elif new[name]["interim"] and not record["interim"]:
            new[name] |= {field: record[field] for field in CONFIRMED}
    hiding = hiding_in(connection)
    for record in new.values():
        record["suppressed_by"] = hiding.by(record)
    insert(connection, list(new.values()))
    changes = {name: {field: record[field] for field in CONFIRMED} for name, record in final.items()}
    rewrite(connection, [(before, changes[before["alert_id"]]) for before in whole(connection, changes)])
    return len(new)


def _id_of(connection: sqlite3.Connection, cursor: str) -> int:
    """Id of the last alert shown; where it was removed since, the least of its time."""
    raised_at, alert_id = read_cursor(cursor)
    found = connection.execute("SELECT id FROM alert WHERE alert_id = ?", (alert_id,)).fetchone()
    return least_id(raised_at) if found is None else int(found[0])


def _time(given: datetime | None, otherwise: int) -> int:
    value = otherwise if given is None else plain(given)
    assert isinstance(value, int)  # noqa: S101 - what times become
    return value
