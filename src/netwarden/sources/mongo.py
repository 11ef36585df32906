"""The only door to MongoDB: connections, its errors in our own words, and the operations that need the driver."""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import certifi
from pymongo import MongoClient, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from netwarden.errors import StoreError

Document = dict[str, Any]

_DUPLICATE = 11000
_HOSTS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(:\d+)?(,([A-Za-z0-9._-]+)(:\d+)?)*")
_STALLED_S = 60.0  # one answer; a scan is many
_REMEMBERED = 200  # changes by a document
_TRIES = 10  # at creating a document that others create too


def shared(uri: str, database: str, timeout_s: float) -> Mongo:
    """This process's connection to a database: one for all of its stores, open until the last of them closes."""
    key = (os.getpid(), uri, database, timeout_s)  # a forked child needs its own
    with _sharing:
        mongo = _shared.get(key)
        if mongo is None:
            mongo = _shared[key] = Mongo(uri, database, timeout_s, forget=lambda: _shared.pop(key, None))
        mongo.users += 1
        return mongo


_shared: dict[tuple[int, str, str, float], Mongo] = {}
_sharing = threading.Lock()


@atexit.register
def _close_all() -> None:
    for mongo in _shared.values():
        mongo.client.close()


class Mongo:
    """A MongoDB database by its address: plain, replica set or Atlas (`mongodb+srv://`, TLS against certifi's roots).

    Get it from `shared`. Connects on first use. `database` counts where the address names none. Raises StoreError for
    an address that cannot be one.
    """

    def __init__(self, uri: str, database: str, timeout_s: float, forget: Callable[[], object]) -> None:
        self.users = 0
        self._forget = forget
        self.address = f"MongoDB {_host(uri)}"
        _refuse_placeholder(uri)
        try:
            self.client: MongoClient[Document] = MongoClient(uri, **_options(uri, timeout_s))
            self._database: Database[Document] = self.client.get_default_database(database)
        except (InvalidURI, ValueError):  # their text may quote a part of the password
            raise StoreError(
                f"{self.address}: the address is not a MongoDB URI; do user and password hold characters such as "
                "@ : / that must be percent-encoded?"
            ) from None
        except ConfigurationError as error:
            raise StoreError(f"{self.address}: {error}; is the cluster's name right, and DNS at hand?") from None
        self.address += f", database {self._database.name}"

    def collection(self, name: str) -> Collection[Document]:
        """A collection of the database; use it inside `explained`."""
        return self._database[name]

    def close(self) -> None:
        """Say that one user is done."""
        with _sharing:
            self.users -= 1
            if self.users == 0:
                self._forget()
                self.client.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the driver's errors into a StoreError that says which host, what and the likely cause."""
        try:
            yield
        except PyMongoError as error:
            raise StoreError(f"{self.address}: {_cause(error)}") from None

    def add_new(self, collection: Collection[Document], documents: Sequence[Document]) -> int:
        """Add those whose _id is not there yet, in any order; returns how many were. Safe to repeat."""
        if not documents:
            return 0
        with self.explained():
            try:
                return len(collection.insert_many(documents, ordered=False).inserted_ids)
            except BulkWriteError as error:
                if _refused(error):
                    raise
                return int(error.details["nInserted"])

    def add_one(self, collection: Collection[Document], document: Document) -> bool:
        """Add a document; False where its _id is taken."""
        with self.explained():
            try:
                collection.insert_one(document)
            except DuplicateKeyError:
                return False
            return True

    def replace_all(self, collection: Collection[Document], documents: Sequence[Document]) -> None:
        """Put every document under its _id, in place of the one there."""
        if not documents:
            return
        with self.explained():
            collection.bulk_write([ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in documents])

    def update_each(self, collection: Collection[Document], changes: Sequence[tuple[Document, Document]]) -> None:
        """Carry out updates, each a query and its change; those that match nothing do nothing."""
        if not changes:
            return
        with self.explained():
            collection.bulk_write([UpdateOne(query, change) for query, change in changes], ordered=False)

    def apply_once(self, collection: Collection[Document], changes: Sequence[tuple[str, Document]], name: str) -> None:
        """Change documents by their _id, made where there is none; one that `name` was applied to is left alone.

        Each remembers the latest 200 names, in `applied`.
        """
        waiting = list(changes)
        noted = {"$push": {"applied": {"$each": [name], "$slice": -_REMEMBERED}}}
        for _ in range(_TRIES):  # of those that create one at once, all but one are told that it is there
            if not waiting:
                return
            updates = [
                UpdateOne({"_id": key, "applied": {"$ne": name}}, {**change, **noted}, upsert=True)
                for key, change in waiting
            ]
            with self.explained():
                try:
                    collection.bulk_write(updates, ordered=False)
                except BulkWriteError as error:
                    if _refused(error):
                        raise
                    taken = [waiting[fault["index"]] for fault in error.details["writeErrors"]]
                    query = {"_id": {"$in": [key for key, _ in taken]}, "applied": name}
                    done = {one["_id"] for one in collection.find(query, {"_id": 1})}
                    waiting = [one for one in taken if one[0] not in done]
                else:
                    return
        raise StoreError(f"{self.address}: a count changes too quickly")

    def update_one(self, collection: Collection[Document], key: str, stages: list[Document]) -> Document:
        """The document of a key after an update by the server's own expressions, created where it is not there."""
        with self.explained():
            for _ in range(_TRIES):  # of those that create it at once, all but one are refused or told of nothing
                try:
                    after = collection.find_one_and_update({"_id": key}, stages, upsert=True, return_document=True)
                except DuplicateKeyError:
                    continue
                if after is not None:
                    return dict(after)
        raise StoreError(f"{self.address}: {key!r} changes too quickly")


def _host(uri: str) -> str:
    """Hosts of an address, never a part of its login: what is not plainly a list of hosts is not shown."""
    hosts = uri.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
    return hosts if _HOSTS.fullmatch(hosts) else "at an unreadable address"


def _refuse_placeholder(uri: str) -> None:
    login = uri.partition("://")[2].rpartition("@")[0]
    if login.endswith(":") or ":<" in login:
        raise StoreError(
            f"MongoDB {_host(uri)}: the address holds no password yet; put yours where Atlas wrote <password>"
        )


def _options(uri: str, timeout_s: float) -> Mapping[str, Any]:
    milliseconds = int(timeout_s * 1000)
    options: dict[str, Any] = {
        "appname": "netwarden",
        "serverSelectionTimeoutMS": milliseconds,
        "connectTimeoutMS": milliseconds,
        "socketTimeoutMS": int(max(_STALLED_S, timeout_s) * 1000),
    }
    query = uri.partition("?")[2].lower()
    secure = uri.startswith("mongodb+srv://") or "tls=true" in query or "ssl=true" in query
    if secure and "tlscafile" not in query and "tls=false" not in query:
        options["tlsCAFile"] = certifi.where()
    return options


def _cause(error: PyMongoError) -> str:
    if isinstance(error, AutoReconnect):
        return (
            f"no answer ({str(error).partition(' (configured')[0].partition(', Timeout')[0]}); is it running, and does "
            "its network access list let this machine in?"
        )
    if isinstance(error, BulkWriteError):
        fault = next(iter(_refused(error)), {})
        return _refusal(fault.get("code"), str(fault.get("errmsg", error)))
    if isinstance(error, OperationFailure):
        details = error.details or {}
        return _refusal(error.code, str(details.get("errmsg", error)))
    return str(error)


def _refused(error: BulkWriteError) -> list[Document]:
    """What went wrong beside documents that are there already."""
    faults = [*error.details.get("writeErrors", []), *error.details.get("writeConcernErrors", [])]
    return [fault for fault in faults if fault.get("code") != _DUPLICATE]


def _refusal(code: int | None, text: str) -> str:
    return f"{_REFUSALS.get(code or 0, 'the server refuses')} ({text})"


_REFUSALS = {
    18: "user or password is wrong; check the address, and that the user is of this cluster",
    8000: "Atlas refuses: user or password is wrong, or the cluster is over its space quota",
    13: "this user may not do that; give it the role readWrite on the database",
    14031: "the server's disk is full; free some space, then load again: what was kept is known then",
    91: "the server is shutting down",
}
