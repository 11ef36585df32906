"""The registry's event log and the leases in MongoDB."""

from __future__ import annotations

from netwarden.sources.mongo import Mongo
from netwarden.sources.registry import LogRecord, record_as_dict, record_from


class MongoEventLog:
    """EventLog as a collection whose _id is the position: the second writer of a place is refused."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._events = mongo.collection("registry")

    def records(self) -> list[LogRecord]:
        """All records, oldest first."""
        with self._mongo.explained():
            return [record_from(document) for document in self._events.find().sort("_id", 1)]

    def append(self, position: int, record: LogRecord) -> bool:
        """Add a record as number `position`; False where another writer has taken that place."""
        return self._mongo.add_one(self._events, {"_id": position, **record_as_dict(record)})

    def close(self) -> None:
        self._mongo.close()


class MongoLeaseTable:
    """LeaseTable by the server's clock, so that machines need not agree on the time."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._leases = mongo.collection("leases")

    def take(self, name: str, holder: str, token: str, ttl_s: float) -> str | None:
        """Take or renew a lease; returns the present holder where another has it."""
        now = {"$toLong": "$$NOW"}
        free = {"$or": [{"$eq": ["$token", token]}, {"$lte": ["$expires_at_ms", now]}]}
        wanted = {"holder": holder, "token": token, "expires_at_ms": {"$add": [now, int(ttl_s * 1000)]}}
        change = {field: {"$cond": [free, value, f"${field}"]} for field, value in wanted.items()}
        after = self._mongo.update_one(self._leases, name, [{"$set": change}])
        return None if after["token"] == token else str(after["holder"])

    def give_back(self, name: str, token: str) -> None:
        """End a lease, if it is still this token's."""
        with self._mongo.explained():
            self._leases.delete_one({"_id": name, "token": token})

    def holder(self, name: str) -> str | None:
        """Who holds a lease now; None: nobody."""
        held = {"_id": name, "$expr": {"$gt": ["$expires_at_ms", {"$toLong": "$$NOW"}]}}
        with self._mongo.explained():
            found = self._leases.find_one(held)
        return str(found["holder"]) if found else None

    def close(self) -> None:
        self._mongo.close()
