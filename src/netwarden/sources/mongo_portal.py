"""What the portal remembers, in a MongoDB database."""

from __future__ import annotations

import json
from typing import Any

from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.portal_store import AuditLine, AuditPage, line_of, line_record, page_of


class MongoPortalStore:
    """PortalStore in two collections; nothing here ever changes or removes a line of the audit log."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    def append(self, line: AuditLine) -> None:
        """Add a line."""
        self._mongo.add_one(self._mongo.collection("audit"), {"_id": line.line_id, **line_record(line)})

    def lines(self, limit: int = 100, cursor: str | None = None, who: str = "", action: str = "") -> AuditPage:
        """Lines, newest first, of a person and an action where they are given."""
        wanted = {"_id": {"$lt": cursor} if cursor else None, "who": who, "action": action}
        query = {name: value for name, value in wanted.items() if value}
        with self._mongo.explained():
            found = list(self._mongo.collection("audit").find(query).sort("_id", -1).limit(limit + 1))
        return page_of([line_of(one) for one in found], limit)

    def note(self, name: str) -> dict[str, Any]:
        """What was last kept under a name; empty where nothing was."""
        with self._mongo.explained():
            found = self._mongo.collection("notes").find_one({"_id": name})
        value: dict[str, Any] = json.loads(found["value"]) if found else {}
        return value

    def keep_note(self, name: str, value: dict[str, Any]) -> None:
        """Keep plain values under a name, in place of those there."""
        kept: Document = {"_id": name, "value": json.dumps(value)}  # as text: names of fields may hold dots
        self._mongo.replace_all(self._mongo.collection("notes"), [kept])

    def close(self) -> None:
        self._mongo.close()
