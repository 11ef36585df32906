"""Alerts in MongoDB, a document each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from netwarden.flows.alert import Alert
from netwarden.sources import mongo_sums
from netwarden.sources.alert_records import (
    CONFIRMED,
    LATE_RECORDS_S,
    SPAN_FIELDS,
    Axis,
    found_by,
    from_record,
    loudest_fields,
    no_such_alert,
    page,
    read_cursor,
    to_record,
)
from netwarden.sources.alert_store import AlertPage, GroupPage, Suppression, TimeBin, TriageAct, TriageChange
from netwarden.sources.filters import Where, conditions, plain
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.mongo_counts import MongoCounts
from netwarden.sources.mongo_sums import query_of
from netwarden.sources.mongo_suppressions import MongoSuppressions
from netwarden.sources.mongo_trail import MongoTrail

_FOUND_BY = (
    "state",
    "family",
    "verdict",
    "source",
    "target",
    "target_port",
    "sensor",
    "bundle_id",
    "score",
    "protocol",
    "suppressed_by",
)  # beside the time, which orders every answer
_PIECE = 1000  # alerts of one batch


class MongoAlertStore:
    """AlertStore in a MongoDB database."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._counts = MongoCounts(mongo)
        self._trail = MongoTrail(mongo, self._counts)
        self._suppressions = MongoSuppressions(mongo, self._counts)
        self._indexed = False

    def add(self, alerts: Sequence[Alert]) -> int:
        """Store those not there yet; returns how many were new. Final records take the place of early ones."""
        self._open()
        pieces = [alerts[start : start + _PIECE] for start in range(0, len(alerts), _PIECE)]
        return sum(self._add([_document(alert) for alert in piece]) for piece in pieces)

    def withdraw(self, alert_ids: Sequence[str], at: datetime) -> None:
        """Say of flows that had early records that their final ones are below the threshold."""
        self._open()
        self._mongo.add_new(self._withdrawn, [{"_id": alert_id, "at": at} for alert_id in alert_ids])
        self._decide({alert_id: {"withdrawn_at": plain(at), "interim": False} for alert_id in alert_ids})

    def remove(self, where: Where, at_most: int) -> int:
        """Forget alerts that meet every condition of `where`, the oldest first; returns how many."""
        self._open()
        query, removed = query_of(conditions(where)), 0
        while removed < at_most:
            with self._mongo.explained():
                oldest = self._alerts.find(query, {"_id": 1}).sort([("raised_at", 1)])
                found = [one["_id"] for one in oldest.limit(min(_PIECE, at_most - removed))]
            if not found:
                break
            self._counts.remove(found)
            removed += len(found)
        return removed

    def _add(self, documents: Sequence[Document]) -> int:
        batch, hiding = self._counts.new_batch(), self._suppressions.hiding
        new = [self._counts.owing({**one, "suppressed_by": hiding.by(one)}, batch) for one in documents]
        added = self._mongo.add_new(self._alerts, [{**one, "words": one["words"].split()} for one in new])
        added -= self._too_late([one["_id"] for one in new if one["interim"]], batch)
        self._counts.settle(batch)
        if added < len(documents):
            self._decide({one["_id"]: _confirmed(one) for one in documents if not one["interim"]})
        return added

    def _decide(self, final: Mapping[str, Document]) -> None:
        """Put what final records say into the early alerts among those of these ids."""
        self._counts.rewrite(final, lambda one: final[one["_id"]] if one["interim"] else None)

    def _too_late(self, early: list[str], batch: str) -> int:
        """Remove early alerts, just added and not counted yet, of flows that were withdrawn before; returns how many.

        Looked up after adding: `withdraw` writes in the other order, so one of both sees what the other wrote.
        """
        if not early:
            return 0
        with self._mongo.explained():
            late = [one["_id"] for one in self._withdrawn.find({"_id": {"$in": early}}, {"_id": 1})]
            query = {"_id": {"$in": late}, "interim": True, "owed.batch": batch}
            return int(self._alerts.delete_many(query).deleted_count) if late else 0

    def get(self, alert_id: str) -> Alert:
        """Raises NotFoundError."""
        with self._mongo.explained():
            record = self._alerts.find_one({"_id": alert_id})
        if record is None:
            raise no_such_alert(alert_id)
        return from_record(record)

    def find(self, where: Where | None = None, limit: int = 100, cursor: str | None = None) -> AlertPage:
        """Alerts, newest first, that meet every condition of `where`."""
        self._open()
        query = query_of(conditions(where))
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
        self._open()
        with self._mongo.explained():
            return int(
                self._alerts.count_documents(query_of(conditions(where)), **({"limit": at_most} if at_most else {}))
            )

    def timeline(
        self, where: Where | None = None, since: datetime | None = None, until: datetime | None = None, bins: int = 60
    ) -> list[TimeBin]:
        """Alerts over time in at most `bins` equal spans of whole minutes, the oldest first, without gap."""
        self._open()
        wanted = conditions(where)
        with self._mongo.explained():
            ends = mongo_sums.ends(self._counts)
            if ends is None:
                return []
            axis = Axis.over(_time(since, ends[0]), _time(until, ends[1] + 1), bins)
            if mongo_sums.kept_in(wanted, SPAN_FIELDS):
                return axis.filled(mongo_sums.count_spans(self._counts, wanted, axis))
            return axis.filled(*mongo_sums.count_newest(self._counts, wanted, axis))

    def top(self, field: str, where: Where | None = None, limit: int = 10) -> list[tuple[str, int]]:
        """The most frequent values of a field of alerts that match, most frequent first."""
        conditions({field: None})  # says where there is no such field
        self._open()
        with self._mongo.explained():
            return mongo_sums.top(self._counts, field, conditions(where), limit)

    def groups(self, where: Where | None = None, limit: int = 50, cursor: str | None = None) -> GroupPage:
        """Repeats: alerts that match, by source, target, family and verdict."""
        self._open()
        with self._mongo.explained():
            return mongo_sums.groups(self._counts, conditions(where), limit, cursor)

    def loudest(self, where: Where | None = None, limit: int = 50, *, by_source: bool = False) -> GroupPage:
        """Repeats with the most alerts, the most first, without further pages."""
        self._open()
        with self._mongo.explained():
            return mongo_sums.loudest(self._counts, conditions(where), limit, loudest_fields(by_source))

    def triage(self, act: TriageAct, where: Where | None) -> TriageAct:
        """Put all that meet every condition of `where` into the act's state."""
        self._open()
        query = {"$and": [query_of(conditions(where)), {"state": {"$ne": act.state}}]}
        with self._mongo.explained():
            found = [one["_id"] for one in self._alerts.find(query, {"_id": 1})]
        return self._trail.decide(act, found)

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
        self._open()
        return self._suppressions.suppress(suppression)

    def lift(self, suppression_id: str, who: str, at: datetime) -> Suppression:
        """Show again what a suppression hid, unless another one hides it. Raises NotFoundError."""
        self._open()
        return self._suppressions.lift(suppression_id, who, at)

    def suppressions(self, limit: int = 1000, before: str = "") -> list[Suppression]:
        """Newest first, the lifted and expired ones too; with `before`, an id, those older than it."""
        return self._suppressions.all(limit, before)

    def close(self) -> None:
        self._mongo.close()

    @property
    def _alerts(self) -> Any:
        return self._mongo.collection("alerts")

    @property
    def _withdrawn(self) -> Any:
        return self._mongo.collection("withdrawn_alerts")

    def _open(self) -> None:
        """Before any work: indexes, once; alerts stored before they were counted; debts of the dead."""
        if not self._indexed:
            with self._mongo.explained():
                self._alerts.create_index([("raised_at", -1), ("alert_id", -1)])
                for name in _FOUND_BY:
                    self._alerts.create_index([(name, 1), ("raised_at", -1), ("alert_id", -1)])
                self._alerts.create_index("words")
                self._trail.index()
                self._counts.index()
                self._withdrawn.create_index("at", expireAfterSeconds=LATE_RECORDS_S)
            self._take_over()
            self._indexed = True
        self._counts.settle_old()

    def _take_over(self) -> None:
        """Count alerts of before alerts were counted, a piece at a time."""
        while True:
            with self._mongo.explained():
                found = list(self._alerts.find({"cell": None}).limit(_PIECE))
            if not found:
                return
            batch, changes = self._counts.new_batch(), []
            for one in found:
                more = {"suppressed_by": None, **found_by(one, json.loads(one["features"]))}
                owing = self._counts.owing({**one, **more}, batch)
                names = (*more, "cell", "owed")
                change = {**{name: owing[name] for name in names}, "words": owing["words"].split()}
                changes.append(({"_id": one["_id"], "cell": None}, {"$set": change}))
            self._mongo.update_each(self._alerts, changes)
            self._counts.settle(batch)


def _document(alert: Alert) -> Document:
    return {"_id": alert.alert_id, **to_record(alert)}


def _confirmed(document: Document) -> Document:
    """What a final record says, with its words as documents hold them."""
    return {**{name: document[name] for name in CONFIRMED}, "words": document["words"].split()}


def _time(given: datetime | None, otherwise: int) -> int:
    value = otherwise if given is None else plain(given)
    assert isinstance(value, int)  # noqa: S101 - what times become
    return value
