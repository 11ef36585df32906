"""What the portal itself remembers: its audit log, and small notes that outlive a restart."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class AuditLine:
    """One line of the audit log: who did what to which thing. Ids of later lines are larger."""

    line_id: str
    at: datetime
    who: str
    role: str
    address: str
    action: str
    object: str
    detail: str = ""


@dataclass(frozen=True)
class AuditPage:
    """Lines, newest first, and the cursor of the next page (None on the last)."""

    lines: list[AuditLine]
    cursor: str | None


class PortalStore(Protocol):
    """The audit log, which only ever grows, and notes by name. Every method raises StoreError."""

    def append(self, line: AuditLine) -> None:
        """Add a line."""
        ...

    def lines(self, limit: int = 100, cursor: str | None = None, who: str = "", action: str = "") -> AuditPage:
        """Lines, newest first, of a person and an action where they are given."""
        ...

    def note(self, name: str) -> dict[str, Any]:
        """What was last kept under a name; empty where nothing was."""
        ...

    def keep_note(self, name: str, value: dict[str, Any]) -> None:
        """Keep plain values under a name, in place of those there."""
        ...

    def close(self) -> None: ...


LINE_FIELDS = tuple(field.name for field in fields(AuditLine))


def line_id(at: datetime) -> str:
    """Larger for later lines, unlike any other."""
    return f"{at:%Y%m%dT%H%M%S.%f}-{secrets.token_hex(4)}"


def line_record(line: AuditLine) -> dict[str, Any]:
    """Field → plain value, the time in microseconds."""
    record = {name: getattr(line, name) for name in LINE_FIELDS}
    return {**record, "at": (line.at - _EPOCH) // timedelta(microseconds=1)}


def line_of(record: dict[str, Any]) -> AuditLine:
    """The line of a record."""
    known = {name: record[name] for name in LINE_FIELDS}
    return AuditLine(**{**known, "at": _EPOCH + timedelta(microseconds=known["at"])})


def page_of(lines: list[AuditLine], limit: int) -> AuditPage:
    """A page from up to limit + 1 lines: the one too many only says that there are more."""
    shown = lines[:limit]
    return AuditPage(shown, shown[-1].line_id if len(lines) > limit and shown else None)
