"""The registry's rules over an append-only log of events; each store only keeps the log.

Champion, challengers and history all follow from the events in order, so no second record can disagree with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from netwarden.errors import NotFoundError
from netwarden.sources.store import BundleEntry, RegistryEvent

REGISTER, PROMOTE, ROLLBACK = "register", "promote", "rollback"


@dataclass(frozen=True)
class LogRecord:
    """One event, and the entry it brought where it registers a bundle."""

    event: RegistryEvent
    entry: BundleEntry | None = None


def record_as_dict(record: LogRecord) -> dict[str, Any]:
    """A record as plain JSON values; `record_from` reads it back."""
    plain: dict[str, Any] = {"event": {**vars(record.event), "at": record.event.at.isoformat()}, "entry": None}
    if record.entry:
        plain["entry"] = {**vars(record.entry), "registered_at": record.entry.registered_at.isoformat()}
    return plain


def record_from(plain: Mapping[str, Any]) -> LogRecord:
    """The record of plain JSON values."""
    event, entry = dict(plain["event"]), plain["entry"]
    event["at"] = _time(event["at"])
    if entry is not None:
        entry = BundleEntry(**{**entry, "registered_at": _time(entry["registered_at"])})
    return LogRecord(RegistryEvent(**event), entry)


class EventLog(Protocol):
    """Records in order, from all writers."""

    def records(self) -> list[LogRecord]:
        """All records, oldest first."""
        ...

    def append(self, position: int, record: LogRecord) -> bool:
        """Add a record as number `position`; False where another writer has taken that place."""
        ...

    def close(self) -> None: ...


class EventRegistry:
    """Registry over any EventLog. A change is decided on what the log says and retried if the log has grown."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def register(self, entry: BundleEntry, who: str, why: str) -> bool:
        """Add a bundle as challenger; False where it was registered before."""

        def decide(records: list[LogRecord]) -> LogRecord | None:
            if any(known.bundle_id == entry.bundle_id for known in _entries(records)):
                return None
            champion = _champion(records, entry.schema_id)
            event = RegistryEvent(entry.registered_at, REGISTER, entry.schema_id, entry.bundle_id, champion, who, why)
            return LogRecord(event, entry)

        return self._change(decide)

    def entries(self, schema_id: str | None = None) -> list[BundleEntry]:
        """All bundles, newest first."""
        return [entry for entry in reversed(_entries(self._log.records())) if schema_id in (None, entry.schema_id)]

    def entry(self, bundle_id: str) -> BundleEntry:
        """Bundle by id or unique prefix. Raises NotFoundError."""
        return _find(self._log.records(), bundle_id)

    def champion(self, schema_id: str) -> BundleEntry | None:
        """The bundle in charge of a schema, if there is one."""
        records = self._log.records()
        bundle_id = _champion(records, schema_id)
        return _find(records, bundle_id) if bundle_id else None

    def promote(self, bundle_id: str, who: str, why: str, at: datetime | None = None) -> BundleEntry:
        """Make a bundle its schema's champion and return it; nothing happens where it is already."""

        def decide(records: list[LogRecord]) -> LogRecord | None:
            entry = _find(records, bundle_id)
            champion = _champion(records, entry.schema_id)
            if champion == entry.bundle_id:
                return None
            return LogRecord(RegistryEvent(at or _now(), PROMOTE, entry.schema_id, entry.bundle_id, champion, who, why))

        self._change(decide)
        return self.entry(bundle_id)

    def rollback(self, schema_id: str, who: str, why: str, at: datetime | None = None) -> BundleEntry:
        """Make the champion before the present one champion again; repeated, go further back.

        Raises NotFoundError where there is none.
        """
        restored: list[BundleEntry] = []

        def decide(records: list[LogRecord]) -> LogRecord:
            reign = _reign(records, schema_id)
            if len(reign) < 2:
                raise NotFoundError(f"schema {schema_id} has no earlier champion to go back to")
            restored[:] = [_find(records, reign[-2])]
            return LogRecord(RegistryEvent(at or _now(), ROLLBACK, schema_id, reign[-2], reign[-1], who, why))

        self._change(decide)
        return restored[0]

    def history(self, schema_id: str | None = None) -> list[RegistryEvent]:
        """Newest first."""
        events = (record.event for record in reversed(self._log.records()))
        return [event for event in events if schema_id in (None, event.schema_id)]

    def close(self) -> None:
        self._log.close()

    def _change(self, decide: Callable[[list[LogRecord]], LogRecord | None]) -> bool:
        while True:
            records = self._log.records()
            record = decide(records)
            if record is None:
                return False
            if self._log.append(len(records), record):
                return True


def _entries(records: list[LogRecord]) -> list[BundleEntry]:
    return [record.entry for record in records if record.entry is not None]


def _find(records: list[LogRecord], bundle_id: str) -> BundleEntry:
    entries = _entries(records)
    found = [entry for entry in entries if bundle_id and entry.bundle_id.startswith(bundle_id)]
    exact = [entry for entry in found if entry.bundle_id == bundle_id]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise NotFoundError(
            f"bundle id {bundle_id!r} fits {len(found)} bundles: {', '.join(entry.bundle_id for entry in found)}"
        )
    raise NotFoundError(
        f"no bundle {bundle_id!r} is registered; `netwarden models list` shows the {len(entries)} there are"
    )


def _champion(records: list[LogRecord], schema_id: str) -> str | None:
    reign = _reign(records, schema_id)
    return reign[-1] if reign else None


def _reign(records: list[LogRecord], schema_id: str) -> list[str]:
    """Champions of a schema, the present one last; a rollback takes the last one off."""
    reign: list[str] = []
    for event in (record.event for record in records if record.event.schema_id == schema_id):
        if event.action == PROMOTE:
            reign.append(event.bundle_id)
        elif event.action == ROLLBACK:
            reign.pop()
    return reign


def _now() -> datetime:
    return datetime.now(UTC)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
