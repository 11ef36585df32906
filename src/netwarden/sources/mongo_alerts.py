"""Alerts in MongoDB, a document each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netwarden.flows.alert import Alert
from netwarden.sources.alert_records import from_record, no_such_alert, page, read_cursor, to_record
from netwarden.sources.filters import Where, conditions
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.store import AlertPage

_FOUND_BY = ("state", "family", "source", "target", "bundle_id")  # beside the time, which orders every answer
_OPERATORS = {"equal": "$eq", "at_least": "$gte", "below": "$lt"}


class MongoAlertStore:
    """AlertStore in a MongoDB database."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._indexed = False

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new."""
        self._index()
        return self._mongo.add_new(self._alerts, [{"_id": alert.alert_id, **to_record(alert)} for alert in alerts])

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

    def count(self, where: Where | None = None) -> int:
        """Alerts that meet every condition of `where`."""
        with self._mongo.explained():
            return int(self._alerts.count_documents(_query(where)))

    def close(self) -> None:
        self._mongo.close()

    @property
    def _alerts(self) -> Any:
        return self._mongo.collection("alerts")

    def _index(self) -> None:
        if self._indexed:
            return
        with self._mongo.explained():
            self._alerts.create_index([("raised_at", -1), ("alert_id", -1)])
            for name in _FOUND_BY:
                self._alerts.create_index([(name, 1), ("raised_at", -1), ("alert_id", -1)])
        self._indexed = True


def _query(where: Where | None) -> Document:
    parts = [
        {condition.field: {"$in": list(condition.values)}}
        if condition.operator == "one_of"
        else {condition.field: {_OPERATORS[condition.operator]: condition.values[0]}}
        for condition in conditions(where)
    ]
    return {"$and": parts} if parts else {}
