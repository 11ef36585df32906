"""What hides alerts, beside the alerts of a MongoDB database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from netwarden.sources.alert_records import (
    AFTER_ALL,
    Hiding,
    hides,
    no_such_suppression,
    suppression_of,
    suppression_record,
)
from netwarden.sources.alert_store import Suppression
from netwarden.sources.filters import conditions, plain
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.mongo_counts import MongoCounts
from netwarden.sources.mongo_sums import query_of


class MongoSuppressions:
    """Hides alerts and shows them again."""

    def __init__(self, mongo: Mongo, counts: MongoCounts) -> None:
        self._mongo = mongo
        self._counts = counts

    @property
    def hiding(self) -> Hiding:
        """What hides alerts now."""
        with self._mongo.explained():
            return Hiding.of(suppression_of(one, 0) for one in self._suppressions.find({"lifted_at": None}))

    def suppress(self, suppression: Suppression) -> Suppression:
        """Hide what is there; new alerts are hidden from the first write on."""
        record = suppression_record(suppression)
        self._mongo.add_one(self._suppressions, {"_id": suppression.suppression_id, **record})
        query = query_of([*conditions(hides(suppression)), *conditions({"suppressed_by": None})])
        by = {"suppressed_by": suppression.suppression_id}
        self._rewrite(query, lambda one: by if one["suppressed_by"] is None else None)
        return self._one(suppression.suppression_id)

    def lift(self, suppression_id: str, who: str, at: datetime) -> Suppression:
        """Show again what it hid, unless another hides it."""
        with self._mongo.explained():
            self._suppressions.update_one(
                {"_id": suppression_id, "lifted_at": None}, {"$set": {"lifted_at": plain(at), "lifted_by": who}}
            )
        lifted = self._one(suppression_id)
        hiding = self.hiding

        def shown(one: Document) -> Document | None:
            if one["suppressed_by"] != suppression_id:
                return None
            return {"suppressed_by": hiding.by({**one, "words": " ".join(one["words"])})}

        self._rewrite({"suppressed_by": suppression_id}, shown)
        return replace(lifted, hidden=0)

    def all(self, limit: int, before: str) -> list[Suppression]:
        """Newest first, those before an id."""
        older = {"_id": {"$lt": before or AFTER_ALL}}
        with self._mongo.explained():
            return self._counted(list(self._suppressions.find(older).sort("_id", -1).limit(limit)))

    @property
    def _suppressions(self) -> Any:
        return self._mongo.collection("suppressions")

    def _rewrite(self, query: Document, decide: Callable[[Document], Document | None]) -> None:
        with self._mongo.explained():
            found = [one["_id"] for one in self._counts.alerts.find(query, {"_id": 1})]
        self._counts.rewrite(found, decide)

    def _one(self, suppression_id: str) -> Suppression:
        with self._mongo.explained():
            found = self._suppressions.find_one({"_id": suppression_id})
            if found is None:
                raise no_such_suppression(suppression_id)
            return self._counted([found])[0]

    def _counted(self, found: list[Document]) -> list[Suppression]:
        stages = [
            {"$match": {"span_s": 3600, "suppressed_by": {"$ne": None}}},
            {"$group": {"_id": "$suppressed_by", "count": {"$sum": "$count"}}},
        ]
        hidden = {one["_id"]: one["count"] for one in self._counts.spans.aggregate(stages)} if found else {}
        return [suppression_of(one, hidden.get(one["_id"], 0)) for one in found]
