"""Counts beside the alerts of a MongoDB database, right whatever is repeated or killed, without transactions.

Every change of an alert that changes a count writes, into the alert itself, that it owes one, under the id of a batch.
Settling a batch adds up what its alerts owe, applies that to each count once (a count remembers the latest batches) and
then unsets the debts. Whoever finds an old debt settles it: doing so twice changes nothing.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from netwarden.errors import StoreError
from netwarden.sources.alert_records import CELL_FIELDS, GROUP_FIELDS, SPAN_FIELDS, SPANS_S, cell_key
from netwarden.sources.alert_words import address_key
from netwarden.sources.filters import ADDRESSES
from netwarden.sources.mongo import Document, Mongo

_PIECE = 1000  # alerts of one batch
_TRIES = 20  # at changing alerts that others change, too
_STALE_S = 5.0  # whose debt is older has no one who settles it
_FORGOTTEN_S = 86_400  # an empty cell is kept for so long, since it remembers
_OWING = {"owed.batch": {"$exists": True}}


class MongoCounts:
    """Changes alerts and keeps their cells and spans."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._looked_at_s = 0.0

    @property
    def alerts(self) -> Any:
        return self._mongo.collection("alerts")

    @property
    def cells(self) -> Any:
        return self._mongo.collection("alert_cells")

    @property
    def spans(self) -> Any:
        return self._mongo.collection("alert_spans")

    def new_batch(self) -> str:
        """Ids of later batches are larger."""
        return f"{time.time_ns():020d}-{secrets.token_hex(4)}"

    def owing(self, document: Document, batch: str) -> Document:
        """A new alert that owes its being counted."""
        return {**document, "cell": cell_key(document), "owed": {"batch": batch, "left": None}}

    def rewrite(self, ids: Iterable[str], decide: Callable[[Document], Document | None]) -> None:
        """Give alerts other values: what `decide` says of each; None leaves one, as it must once it is changed."""
        wanted = list(ids)
        for start in range(0, len(wanted), _PIECE):
            left = wanted[start : start + _PIECE]
            for _ in range(_TRIES):
                left = self._try(left, decide)
                if not left:
                    break
            else:
                raise StoreError(f"{self._mongo.address}: alert {left[0]!r} changes too quickly")

    def remove(self, ids: Sequence[str]) -> None:
        """Forget alerts, their counts first."""
        batch = self.new_batch()
        gone = [(one, {"batch": batch, "left": one["cell"], "gone": True}) for one in self._settled(ids)]
        self._mongo.update_each(self.alerts, [(_as_was(one), {"$set": {"owed": owed}}) for one, owed in gone])
        self.settle(batch)

    def settle(self, batch: str) -> None:
        """Count what the alerts of a batch owe."""
        with self._mongo.explained():
            found = list(self.alerts.find({"owed.batch": batch}, {"features": 0, "words": 0}))
        if not found:
            return
        arrived = [one for one in found if not one["owed"].get("gone")]
        left = [(one["owed"]["left"], one["raised_at"]) for one in found if one["owed"]["left"] is not None]
        self._mongo.apply_once(self.cells, _cell_changes(arrived, left, batch), batch)
        self._mongo.apply_once(self.spans, _span_changes(arrived, left, batch), batch)
        with self._mongo.explained():
            self.alerts.delete_many({"owed.batch": batch, "owed.gone": True})
        for cell in {cell for cell, _ in left}:
            self._refresh(cell)
        with self._mongo.explained():
            self.alerts.update_many({"owed.batch": batch}, {"$unset": {"owed": ""}})

    def settle_old(self) -> None:
        """Settle what was left behind by whoever was killed."""
        now_s = time.time()
        if now_s - self._looked_at_s < _STALE_S:
            return
        self._looked_at_s = now_s
        with self._mongo.explained():
            batches = self.alerts.distinct("owed.batch", _OWING)
            oldest = f"{int((now_s - _FORGOTTEN_S) * 1e9):020d}"
            self.cells.delete_many({"count": 0, "batch": {"$lt": oldest}})
            self.spans.delete_many({"count": 0, "batch": {"$lt": oldest}})
        for batch in batches:
            if int(batch.partition("-")[0]) < (now_s - _STALE_S) * 1e9:
                self.settle(batch)

    def index(self) -> None:
        """Make the indexes; use it inside `explained`."""
        self.alerts.create_index([("cell", 1), ("raised_at", 1)])
        self.alerts.create_index([("cell", 1), ("score", -1)])
        self.alerts.create_index("owed.batch", sparse=True)
        self.cells.create_index([("last", -1)])
        self.spans.create_index([("span_s", 1), ("start", 1)])

    def _try(self, ids: Sequence[str], decide: Callable[[Document], Document | None]) -> list[str]:
        """Change what can be changed now; returns the ids to look at again."""
        batch = self.new_batch()
        updates, looked_at = [], []
        for document in self._settled(ids):
            change = decide(document)
            if change is None:
                continue
            cell = cell_key({**document, **change})
            owed = {"owed": {"batch": batch, "left": document["cell"]}} if cell != document["cell"] else {}
            updates.append((_as_was(document), {"$set": {**change, **owed, "cell": cell}}))
            looked_at.append(document["_id"])
        self._mongo.update_each(self.alerts, updates)
        self.settle(batch)
        return looked_at

    def _settled(self, ids: Sequence[str]) -> list[Document]:
        """Alerts without debts."""
        for _ in range(_TRIES):
            with self._mongo.explained():
                found = list(self.alerts.find({"_id": {"$in": list(ids)}}, {"features": 0}))
            owed = {one["owed"]["batch"] for one in found if "owed" in one}
            if not owed:
                return found
            for batch in owed:
                self.settle(batch)
        raise StoreError(f"{self._mongo.address}: alerts change too quickly to be counted")

    def _refresh(self, cell: str) -> None:
        """First, last, worst and newest of a cell that alerts have left."""
        for _ in range(_TRIES):
            with self._mongo.explained():
                seen = self.cells.find_one({"_id": cell}, {"turn": 1})
                here = {"cell": cell, "owed.gone": {"$exists": False}}
                oldest, newest = (list(self.alerts.find(here).sort([("raised_at", way)]).limit(1)) for way in (1, -1))
                worst = list(self.alerts.find(here).sort([("score", -1)]).limit(1))
                if seen is None:
                    return
                facts = _extremes(oldest, newest, worst) if worst else _NO_EXTREMES
                changed = self.cells.update_one({"_id": cell, "turn": seen["turn"]}, facts)
            if changed.matched_count:
                return


_NO_EXTREMES: Document = {"$unset": {"first": "", "last": "", "worst": "", "newest": ""}}


def _extremes(oldest: list[Document], newest: list[Document], worst: list[Document]) -> Document:
    last = newest[0]
    facts = {"last": last["raised_at"], "worst": worst[0]["score"], "newest": _order(last)}
    return {"$set": {"first": oldest[0]["raised_at"], **facts}}


def cell_facts(cell: str) -> Document:
    """What alerts of a cell have in common."""
    return dict(zip(CELL_FIELDS, json.loads(cell), strict=True))


def _as_was(document: Document) -> Document:
    """Finds an alert if nobody has changed its counts since."""
    return {"_id": document["_id"], "cell": document["cell"], "owed": {"$exists": False}}


def _order(document: Document) -> str:
    return f"{document['raised_at']:020d}~{document['_id']}"


def _cell_changes(
    arrived: Sequence[Document], left: Sequence[tuple[str, int]], batch: str
) -> list[tuple[str, Document]]:
    """Key of a cell and its change."""
    came: dict[str, list[Document]] = defaultdict(list)
    for document in arrived:
        came[document["cell"]].append(document)
    went = Counter(cell for cell, _ in left)
    changes = []
    for cell in came.keys() | went.keys():
        found = came[cell]
        facts = cell_facts(cell)
        change: Document = {"$inc": {"count": len(found) - went[cell], "turn": 1}, "$set": {"batch": batch}}
        change["$setOnInsert"] = {**facts, "group_key": cell_key(facts, GROUP_FIELDS), **_keys_of(facts)}
        if found:
            times = [one["raised_at"] for one in found]
            change["$min"] = {"first": min(times)}
            newest = max(_order(one) for one in found)
            change["$max"] = {"last": max(times), "worst": max(one["score"] for one in found), "newest": newest}
        changes.append((cell, change))
    return changes


def _span_changes(
    arrived: Sequence[Document], left: Sequence[tuple[str, int]], batch: str
) -> list[tuple[str, Document]]:
    """Key of a span and its change."""
    changed: Counter[tuple[Any, ...]] = Counter()
    for sign, facts, raised_at in (
        *((1, one, one["raised_at"]) for one in arrived),
        *((-1, cell_facts(cell), raised_at) for cell, raised_at in left),
    ):
        for span_s in SPANS_S:
            start = raised_at // (span_s * 1_000_000) * span_s
            changed[(span_s, start, *(facts[name] for name in SPAN_FIELDS))] += sign
    changes = []
    for key, count in changed.items():
        facts = dict(zip(("span_s", "start", *SPAN_FIELDS), key, strict=True))
        change = {"$inc": {"count": count}, "$setOnInsert": facts, "$set": {"batch": batch}}
        changes.append((json.dumps(key), change))
    return changes


def _keys_of(facts: Document) -> Document:
    return {f"{name}_key": None if facts[name] is None else address_key(facts[name]) for name in ADDRESSES}
