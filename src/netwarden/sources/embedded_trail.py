"""The audit trail of triage beside the alerts of one SQLite file."""

# ruff: noqa: S608 - column names in queries are our own, values are bound

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from netwarden.sources.alert_records import ACT_FIELDS, AFTER_ALL, act_of, act_record, no_such_act
from netwarden.sources.alert_store import TriageAct, TriageChange
from netwarden.sources.embedded_layout import rewrite, slim
from netwarden.sources.sqlite import Database

_ACT = ", ".join(ACT_FIELDS)
TRIAGE_TABLES = (
    f"CREATE TABLE IF NOT EXISTS acts ({_ACT}, PRIMARY KEY (act_id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS triaged "
    "(alert_id, act_id, before, after, PRIMARY KEY (alert_id, act_id)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS triaged_by_act ON triaged (act_id, alert_id)",
)
_PIECE = 500  # alerts of one transaction, some 10 ms
# Alerts whose latest change is of this act.
_STILL = (
    "SELECT alert_id, before FROM triaged AS mine WHERE act_id = ? AND NOT EXISTS "
    "(SELECT 1 FROM triaged WHERE alert_id = mine.alert_id AND act_id > mine.act_id)"
)


class EmbeddedTrail:
    """Changes alerts' states, each change together with its line."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decide(self, act: TriageAct, alert_ids: Sequence[str]) -> TriageAct:
        """Put alerts into the act's state."""
        return self._carry_out(act, [(alert_id, act.state) for alert_id in alert_ids])

    def undo(self, act: TriageAct) -> TriageAct:
        """Put alerts back that were last changed by the act that this one undoes."""
        with self._database.read() as connection:
            known = connection.execute("SELECT 1 FROM acts WHERE act_id = ?", [act.undoes]).fetchone()
            still = connection.execute(_STILL, [act.undoes]).fetchall()
        if known is None:
            raise no_such_act(act.undoes)
        return self._carry_out(act, still)

    def acts(self, limit: int, before: str) -> list[TriageAct]:
        """Newest first, those before an id."""
        query = f"SELECT {_ACT} FROM acts WHERE act_id < ? ORDER BY act_id DESC LIMIT ?"
        with self._database.read() as connection:
            rows = connection.execute(query, [before or AFTER_ALL, limit]).fetchall()
        return [act_of(dict(zip(ACT_FIELDS, row, strict=True))) for row in rows]

    def changes(self, alert_id: str) -> list[TriageChange]:
        """Newest first."""
        lines = "triaged JOIN acts USING (act_id) WHERE alert_id = ? ORDER BY act_id DESC"
        query = f"SELECT {_ACT}, before, after FROM {lines}"
        with self._database.read() as connection:
            rows = connection.execute(query, [alert_id]).fetchall()
        return [TriageChange(act_of(dict(zip(ACT_FIELDS, row[:-2], strict=True))), *row[-2:]) for row in rows]

    def _carry_out(self, act: TriageAct, wanted: Sequence[tuple[str, str | None]]) -> TriageAct:
        with self._database.write() as connection:
            record = act_record(act)
            connection.execute(f"INSERT INTO acts ({_ACT}) VALUES (:{', :'.join(ACT_FIELDS)})", record)
        changed = 0
        for start in range(0, len(wanted), _PIECE):
            with self._database.write() as connection:
                changed += _change(connection, act.act_id, wanted[start : start + _PIECE])
                connection.execute("UPDATE acts SET changed = ? WHERE act_id = ?", [changed, act.act_id])
        return replace(act, changed=changed)


def _change(connection: sqlite3.Connection, act_id: str, wanted: Sequence[tuple[str, str | None]]) -> int:
    """How many alerts got another state than they had."""
    after = dict(wanted)
    changed = [one for one in slim(connection, after) if one["state"] != after[one["alert_id"]]]
    connection.executemany(
        "INSERT INTO triaged (alert_id, act_id, before, after) VALUES (?, ?, ?, ?)",
        [(one["alert_id"], act_id, one["state"], after[one["alert_id"]]) for one in changed],
    )
    rewrite(connection, [(one, {"state": after[one["alert_id"]]}) for one in changed])
    return len(changed)
