"""Contracts of every store and of the queue. One behaviour suite runs over each backend (tests/stores)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

# The contract of alerts is a file of its own.
from netwarden.sources.alert_store import AlertPage as AlertPage  # noqa: PLC0414 - re-exported
from netwarden.sources.alert_store import AlertStore as AlertStore  # noqa: PLC0414 - re-exported
from netwarden.sources.alert_store import TriageAct as TriageAct  # noqa: PLC0414 - re-exported
from netwarden.sources.alert_store import TriageChange as TriageChange  # noqa: PLC0414 - re-exported

# --- flows --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InsertReport:
    """What one insert did; `known` rows had been there before and were left alone."""

    inserted: int
    known: int


@dataclass(frozen=True)
class RejectedRow:
    """A row kept out of the store, and why."""

    file: str
    line: int
    reason: str
    text: str = ""


@dataclass(frozen=True)
class DatasetSummary:
    """What a store holds of one dataset."""

    dataset: str
    schema_id: str
    rows: dict[str, int] = field(default_factory=dict)  # split → rows
    labels: dict[str, int] = field(default_factory=dict)  # attack name → rows
    quarantined: int = 0
    content_hash: str = ""  # equal iff the set of (row id) is equal, whatever the order of arrival


class FlowStore(Protocol):
    """Flow rows by dataset, safe for several writing processes.

    A row is stored once or not at all. An insert that was cut short may be repeated: what it had kept is known then.
    """

    @property
    def address(self) -> str:
        """Where rows go, fit to print: never a password."""
        ...

    def insert(self, dataset: str, schema_id: str, rows: Any) -> InsertReport:
        """Add an Arrow table with the reserved columns; rows whose row_id is known are skipped and counted."""
        ...

    def scan(self, dataset: str, split: str | None = None, batch_rows: int = 65_536) -> Iterator[Any]:
        """Arrow tables of all rows, of one column layout, in no promised order; bounded memory."""
        ...

    def quarantine(self, dataset: str, rows: Sequence[RejectedRow]) -> None:
        """Keep rejected rows; the same file and line again replaces the earlier entry."""
        ...

    def quarantined(self, dataset: str, limit: int = 100, behind: tuple[str, int] | None = None) -> list[RejectedRow]:
        """Rejected rows in order of file and line, those behind a file and line where given."""
        ...

    def summary(self, dataset: str) -> DatasetSummary:
        """Counts and content hash. Raises NotFoundError where the dataset is not there."""
        ...

    def datasets(self) -> list[str]: ...

    def drop(self, dataset: str) -> int:
        """Remove a dataset and its quarantine; returns the rows removed."""
        ...

    def close(self) -> None: ...


# --- registry -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BundleEntry:
    """A registered bundle. `location` is relative to the bundle folder of NETWARDEN_HOME and to the backup's key."""

    bundle_id: str
    schema_id: str
    location: str
    registered_at: datetime
    validation: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    run_id: str = ""


@dataclass(frozen=True)
class RegistryEvent:
    """One line of the registry's history; history is only ever appended to."""

    at: datetime
    action: str  # register, promote, rollback
    schema_id: str
    bundle_id: str
    previous: str | None
    who: str
    why: str


class Registry(Protocol):
    """Champion, challengers and history per schema. Two promotions at once never leave two champions."""

    def register(self, entry: BundleEntry, who: str, why: str) -> bool:
        """Add a bundle as challenger; False where it was registered before."""
        ...

    def entries(self, schema_id: str | None = None) -> list[BundleEntry]:
        """All bundles, newest first."""
        ...

    def entry(self, bundle_id: str) -> BundleEntry:
        """Bundle by id or unique prefix. Raises NotFoundError."""
        ...

    def champion(self, schema_id: str) -> BundleEntry | None: ...

    def promote(self, bundle_id: str, who: str, why: str, at: datetime | None = None) -> BundleEntry:
        """Make a bundle its schema's champion and return it."""
        ...

    def rollback(self, schema_id: str, who: str, why: str, at: datetime | None = None) -> BundleEntry:
        """Make the champion before the present one champion again. Raises NotFoundError where there is none."""
        ...

    def history(self, schema_id: str | None = None) -> list[RegistryEvent]:
        """Newest first."""
        ...

    def close(self) -> None: ...


# --- queue and feed -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """One queued batch; `deliveries` counts how often it was handed out, this time included."""

    message_id: str
    body: bytes
    deliveries: int = 1


@dataclass(frozen=True)
class DeadLetter:
    """A body that could not be processed, and why."""

    letter_id: str
    body: bytes
    reason: str


@dataclass(frozen=True)
class QueueLimits:
    """What bounds a queue: messages that nobody has acknowledged, and their bytes.

    Full, `publish` waits up to `publish_timeout_s`, or drops the oldest that was not handed out and counts it; then
    messages older than `max_age_s` go too (0: whatever their age).
    """

    messages: int = 1024
    bytes: int = 256 << 20
    when_full: Literal["wait", "drop_oldest"] = "wait"
    publish_timeout_s: float = 30.0
    max_age_s: float = 0.0
    dead_letters: int = 10_000  # beyond it the oldest is dropped and counted


class Queue(Protocol):
    """At-least-once delivery of byte bodies to one group of consumers. Every method raises StoreError."""

    @property
    def dropped(self) -> int:
        """Messages and dead letters lost to the bounds by what this object did."""
        ...

    def publish(self, body: bytes) -> str:
        """Append a body and return its id. Raises QueueFullError where there is no room in time."""
        ...

    def read(self, consumer: str, limit: int, wait_s: float) -> list[Message]:
        """Next messages for a consumer; they stay pending until acknowledged."""
        ...

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Forget messages that are done; unknown ids are ignored, since a message may be done twice."""
        ...

    def claim(self, consumer: str, idle_s: float, limit: int) -> list[Message]:
        """Take over messages left pending for at least idle_s, whoever had them, oldest first."""
        ...

    def hold(self, consumer: str, message_ids: Sequence[str]) -> None:
        """Say that pending messages are still being worked on, so that nobody claims them for now."""
        ...

    def split(self, message: Message, bodies: Sequence[bytes]) -> None:
        """Put bodies, all at once, in the place of a message that is pending."""
        ...

    def dead_letter(self, message: Message, reason: str, bodies: Sequence[bytes] | None = None) -> None:
        """Acknowledge a pending message and, in the same step, set it aside with a reason (or `bodies` instead of it).

        Does nothing where the message is done already, so that nothing is set aside twice.
        """
        ...

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """What was set aside, oldest first."""
        ...

    def redrive(self, letter_ids: Sequence[str]) -> int:
        """Put dead letters back into the queue, beyond its bounds; returns how many were still there."""
        ...

    def depth(self) -> int:
        """Messages not yet acknowledged."""
        ...

    def close(self) -> None: ...


class Feed(Protocol):
    """The latest byte bodies, for any number of followers; the oldest go when it is full."""

    def append(self, body: bytes) -> str:
        """Add a body and return its id. Raises StoreError."""
        ...

    def after(self, entry_id: str, limit: int, wait_s: float) -> list[tuple[str, bytes]]:
        """Entries behind one, oldest first; empty: from the oldest kept. Raises StoreError."""
        ...

    def close(self) -> None: ...


# --- single flight ------------------------------------------------------------------------------------------


class Lease(Protocol):
    """One holder at a time across processes and machines, for work such as training."""

    def hold(self, name: str, holder: str, ttl_s: float) -> AbstractContextManager[None]:
        """Hold while the block runs. Raises HeldError naming the present holder."""
        ...

    def holder(self, name: str) -> str | None:
        """Who holds it now; None: nobody."""
        ...

    def close(self) -> None: ...


# --- backup -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BackupReceipt:
    """What a backup holds under one key: SHA-256 per file, verified after the upload."""

    address: str
    key: str
    files: dict[str, str]  # path inside the folder → SHA-256
    size_bytes: int
    uploaded: bool  # False: the same content was there before


class Backup(Protocol):
    """Folders under immutable keys such as `bundles/<bundle id>`. Raises BackupError."""

    @property
    def address(self) -> str:
        """Where backups go, fit to print."""
        ...

    def put_folder(self, key: str, folder: Path) -> BackupReceipt:
        """Keep a folder's files under a key. The same content again is a no-op; other content is refused."""
        ...

    def get_folder(self, key: str, folder: Path) -> Path:
        """Bring a key's files back to a folder that is not there yet or is empty: all of them verified, or none."""
        ...

    def keys(self, prefix: str = "") -> list[str]:
        """Complete backups, sorted."""
        ...

    def check(self) -> None:
        """Raise BackupError where a small file cannot be kept, read back and removed again."""
        ...
