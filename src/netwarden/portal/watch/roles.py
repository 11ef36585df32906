"""Which sensors and workers are alive, on whatever machine, and how they say they are."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NetwardenError
from netwarden.logs import get
from netwarden.settings import Settings
from netwarden.sources.connect import open_feed
from netwarden.streaming.heartbeat import EVERY_S, HEARTBEATS, KEPT, Heartbeat, read_heartbeat

SILENT_S = 5 * EVERY_S  # then a role is no longer taken for alive
_FORGOTTEN_S = 3600.0
_AT_ONCE, _WAIT_S, _PAUSE_S = 200, 0.5, 1.0
_log = get(__name__)


class RoleNow(BaseModel):
    """A sensor or worker and how it is."""

    model_config = ConfigDict(extra="forbid")
    role: str = Field(description="sensor or worker")
    name: str
    host: str
    port: int = Field(description="Of its own /health and /metrics")
    last_seen: datetime = Field(description="Its last sign of life; it gives one every two seconds")
    silent: bool = Field(description="It gave none for ten seconds, and had not said that it ended")
    flows_per_s: float = Field(description="Sent by a sensor, scored by a worker, when it was last seen")
    faults: list[str] = Field(description="What it needs and does not get, and why")
    notes: list[str] = Field(description="What else it says")


@dataclass(frozen=True)
class _Seen:
    beat: Heartbeat
    at: datetime


class Roles:
    """Follows the heartbeats from the first question on, in a thread of its own. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._feed = open_feed(settings, HEARTBEATS, KEPT)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[tuple[str, str, int], _Seen] = {}

    def now(self) -> list[RoleNow]:
        """Those that have not ended, sensors first; the first to ask waits a moment for what the feed still holds."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="heartbeats", daemon=True)
                self._thread.start()
        self._caught_up.wait(_WAIT_S * 4)
        now = datetime.now(UTC)
        with self._lock:
            self._seen = {
                key: seen for key, seen in self._seen.items() if now - seen.at < timedelta(seconds=_FORGOTTEN_S)
            }
            return [_role_now(self._seen[key], now) for key in sorted(self._seen)]

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_WAIT_S * 4)

    def _follow(self) -> None:
        last = ""
        with closing(self._feed):
            while not self._stop.is_set():
                try:
                    # Until all that there is was read, nobody is made to wait for what may come.
                    entries = self._feed.after(last, _AT_ONCE, _WAIT_S if self._caught_up.is_set() else 0)
                except NetwardenError:  # the feed of scored flows, at the same place, tells it
                    self._caught_up.set()
                    self._stop.wait(_PAUSE_S)
                    continue
                last = entries[-1][0] if entries else last
                for _, body in entries:
                    self._take(body)
                if len(entries) < _AT_ONCE:
                    self._caught_up.set()

    def _take(self, body: bytes) -> None:
        """Note a heartbeat at the time it came, which other machines' clocks do not change; old ones at their own."""
        try:
            beat = read_heartbeat(body)
        except InputError as error:
            _log.warning("no heartbeat", extra={"error": str(error)})
            return
        key, now = (beat.role, beat.host, beat.port), datetime.now(UTC)
        with self._lock:
            if beat.ended:
                self._seen.pop(key, None)
            else:
                self._seen[key] = _Seen(beat, now if self._caught_up.is_set() else min(beat.at, now))


def _role_now(seen: _Seen, now: datetime) -> RoleNow:
    beat = seen.beat
    silent = now - seen.at > timedelta(seconds=SILENT_S)
    parts: dict[str, Any] = beat.health.get("components", {})
    return RoleNow(
        role=beat.role,
        name=beat.name,
        host=beat.host,
        port=beat.port,
        last_seen=seen.at,
        silent=silent,
        flows_per_s=0.0 if silent else beat.flows_per_s,
        faults=[f"{name} is away ({part['detail']})" for name, part in parts.items() if not part["ok"]],
        notes=_notes(beat.health),
    )


def _notes(health: dict[str, Any]) -> list[str]:
    notes = []
    if health.get("queue_full"):
        notes.append("the queue is full")
    if health.get("spooled_batches"):
        notes.append(f"{health['spooled_batches']:,} batches wait on its disk")
    learning = health.get("learning", {})
    if learning.get("state") == "learning":
        notes.append(
            f"learns this network: {learning['flows_kept']:,} flows of at least {learning['least_flows']:,}, "
            f"{learning['watched_s'] / 60:.0f} min watched of {learning['span']}"
        )
    return notes
