"""The audit trail of triage beside the alerts of a MongoDB database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from netwarden.sources.alert_records import AFTER_ALL, act_of, act_record, no_such_act
from netwarden.sources.alert_store import TriageAct, TriageChange
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.mongo_counts import MongoCounts

_PIECE = 1000  # alerts of one request


class MongoTrail:
    """Changes alerts' states, and keeps a line for each change. Lines come first: no change is without one."""

    def __init__(self, mongo: Mongo, counts: MongoCounts) -> None:
        self._mongo = mongo
        self._counts = counts

    def decide(self, act: TriageAct, alert_ids: Sequence[str]) -> TriageAct:
        """Put alerts into the act's state."""
        return self._carry_out(act, dict.fromkeys(alert_ids, act.state))

    def undo(self, act: TriageAct) -> TriageAct:
        """Put alerts back that were last changed by the act that this one undoes."""
        with self._mongo.explained():
            if self._acts.find_one({"_id": act.undoes}) is None:
                raise no_such_act(act.undoes)
            mine = {one["alert_id"]: one["before"] for one in self._triaged.find({"act_id": act.undoes})}
            ids = list(mine)
            for start in range(0, len(ids), _PIECE):
                later = {"alert_id": {"$in": ids[start : start + _PIECE]}, "act_id": {"$gt": act.undoes}}
                for one in self._triaged.find(later, {"alert_id": 1}):
                    mine.pop(one["alert_id"], None)
        return self._carry_out(act, mine)

    def acts(self, limit: int, before: str) -> list[TriageAct]:
        """Newest first, those before an id."""
        older = {"_id": {"$lt": before or AFTER_ALL}}
        with self._mongo.explained():
            return [act_of(one) for one in self._acts.find(older).sort("_id", -1).limit(limit)]

    def changes(self, alert_id: str) -> list[TriageChange]:
        """Newest first."""
        with self._mongo.explained():
            lines = list(self._triaged.find({"alert_id": alert_id}).sort("act_id", -1))
            acts = {one["_id"]: act_of(one) for one in self._acts.find({"_id": {"$in": [x["act_id"] for x in lines]}})}
        return [TriageChange(acts[line["act_id"]], line["before"], line["after"]) for line in lines]

    def index(self) -> None:
        """Make the indexes; use it inside `explained`."""
        self._triaged.create_index([("alert_id", 1), ("act_id", -1)])
        self._triaged.create_index([("act_id", 1)])

    @property
    def _acts(self) -> Any:
        return self._mongo.collection("triage_acts")

    @property
    def _triaged(self) -> Any:
        return self._mongo.collection("triaged_alerts")

    def _carry_out(self, act: TriageAct, wanted: dict[str, Any]) -> TriageAct:
        self._mongo.add_one(self._acts, {"_id": act.act_id, **act_record(act)})
        ids, changed = list(wanted), 0
        for start in range(0, len(ids), _PIECE):
            changed += self._change(act.act_id, {key: wanted[key] for key in ids[start : start + _PIECE]})
            with self._mongo.explained():
                self._acts.update_one({"_id": act.act_id}, {"$set": {"changed": changed}})
        return replace(act, changed=changed)

    def _change(self, act_id: str, wanted: dict[str, Any]) -> int:
        """How many alerts got another state than they had."""
        with self._mongo.explained():
            found = self._counts.alerts.find({"_id": {"$in": list(wanted)}}, {"state": 1})
            before = {one["_id"]: one["state"] for one in found if one["state"] != wanted[one["_id"]]}
        lines: list[Document] = [
            {"_id": f"{act_id}~{key}", "act_id": act_id, "alert_id": key, "before": state, "after": wanted[key]}
            for key, state in before.items()
        ]
        self._mongo.add_new(self._triaged, lines)

        def decided(one: Document) -> Document | None:
            return {"state": wanted[one["_id"]]} if one["state"] == before[one["_id"]] else None

        self._counts.rewrite(before, decided)
        return len(before)
