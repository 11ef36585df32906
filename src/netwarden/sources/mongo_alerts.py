"""Alerts in MongoDB, a document each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
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
from netwarden.sources.filters import Where, conditions, plain
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.mongo_trail import MongoTrail
from netwarden.sources.store import AlertPage, TriageAct, TriageChange

_FOUND_BY = (
    "state",
    "family",
    "verdict",
    "source",
    "target",
    "target_port",
    "sensor",
    "bundle_id",
)  # beside the time, which orders every answer
_OPERATORS = {"equal": "$eq", "at_least": "$gte", "below": "$lt"}


class MongoAlertStore:
    """AlertStore in a MongoDB database."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._trail = MongoTrail(mongo)
        self._indexed = False

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new. Final records take the place of early ones."""
        self._index()
        records = [{"_id": alert.alert_id, **to_record(alert)} for alert in alerts]
        added = self._mongo.add_new(self._alerts, records)
        if added < len(records):
            self._decide({one["_id"]: {name: one[name] for name in CONFIRMED} for one in records if not one["interim"]})
        return added - self._too_late([record["_id"] for record in records if record["interim"]])

    def withdraw(self, alert_ids: Sequence[str], at: datetime) -> None:
        """Say of flows that had early records that their final ones are below the threshold."""
        self._index()
        self._mongo.add_new(self._withdrawn, [{"_id": alert_id, "at": at} for alert_id in alert_ids])
        self._decide({alert_id: {"withdrawn_at": plain(at), "interim": False} for alert_id in alert_ids})

    def _decide(self, final: Mapping[str, Document]) -> None:
        """Put what final records say into the early alerts among those of these ids."""
        self._mongo.update_each(
            self._alerts, [({"_id": key, "interim": True}, {"$set": change}) for key, change in final.items()]
        )

    def _too_late(self, early: list[str]) -> int:
        """Remove early alerts, just added, of flows that were withdrawn before; returns how many.

        Looked up after adding: `withdraw` writes in the other order, so one of both sees what the other wrote.
        """
        if not early:
            return 0
        with self._mongo.explained():
            late = [one["_id"] for one in self._withdrawn.find({"_id": {"$in": early}}, {"_id": 1})]
            return int(self._alerts.delete_many({"_id": {"$in": late}, "interim": True}).deleted_count) if late else 0

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        with self._mongo.explained():
            record = self._alerts.find_one({"_id": alert_id})
        if record is None:
            raise no_such_alert(alert_id)
        return from_record(record)

    def find(self, where: Where | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        query = _query(where)
        if cursor is not None:
            raised_at, alert_id = read_cursor(cursor)
            later = [{"raised_at": {"$lt": raised_at}}, {"raised_at": raised_at, "alert_id": {"$lt": alert_id}}]
            query = {"$and": [query, {"$or": later}]}
        with self._mongo.explained():
            found = self._alerts.find(query).sort([("raised_at", -1), ("alert_id", -1)]).limit(limit + 1)
            return page(list(found), limit)

    def count(self, where: Where | None = None, at_most: int | None = None) -> int:
        """Alerts that meet every condition of `where`; counting stops at `at_most`."""
        if at_most == 0:
            return 0  # to the server, a limit of 0 is none
        with self._mongo.explained():
            return int(self._alerts.count_documents(_query(where), **({"limit": at_most} if at_most else {})))

    def triage(self, act: TriageAct, where: Where | None) -> TriageAct:
        """Put all that meet every condition of `where` into the act's state."""
        query = {"$and": [_query(where), {"state": {"$ne": act.state}}]}
        with self._mongo.explained():
            found = [one["_id"] for one in self._alerts.find(query, {"_id": 1})]
        return self._trail.decide(act, found)

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
        self._mongo.close()

    @property
    def _alerts(self) -> Any:
        return self._mongo.collection("alerts")

    @property
    def _withdrawn(self) -> Any:
        return self._mongo.collection("withdrawn_alerts")

    def _index(self) -> None:
        if self._indexed:
            return
        with self._mongo.explained():
            self._alerts.create_index([("raised_at", -1), ("alert_id", -1)])
            for name in _FOUND_BY:
                self._alerts.create_index([(name, 1), ("raised_at", -1), ("alert_id", -1)])
            self._trail.index()
            self._withdrawn.create_index("at", expireAfterSeconds=LATE_RECORDS_S)
        self._indexed = True


def _query(where: Where | None) -> Document:
    parts = [
        {condition.field: {"$in": list(condition.values)}}
        if condition.operator == "one_of"
        else {condition.field: {_OPERATORS[condition.operator]: condition.values[0]}}
        for condition in conditions(where)
    ]
    return {"$and": parts} if parts else {}
