"""Signs of life: each sensor and worker says in a feed how it is, wherever it runs, to whoever watches them all."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from netwarden.errors import InputError, StoreError
from netwarden.sources.store import Feed
from netwarden.streaming.health import Health

HEARTBEATS = "heartbeats"  # name of the feed
KEPT = 1000  # in the feed: of ten roles, those of three minutes
EVERY_S = 2.0


@dataclass(frozen=True)
class Heartbeat:
    """How a role was at a moment of its own clock. `health` is what /health answers; `ended`: this is its last."""

    role: str
    name: str
    host: str
    port: int
    at: datetime
    flows_per_s: float  # since the one before
    health: dict[str, Any]
    ended: bool = False


@contextmanager
def beating(feed: Feed, health: Health, name: str, port: int, every_s: float = EVERY_S) -> Iterator[None]:
    """Tells the feed how a role is while the block runs, then that it ended. A feed that is away holds nobody up."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(feed, health, name, port, every_s, ended), name="heartbeat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(feed: Feed, health: Health, name: str, port: int, every_s: float, ended: threading.Event) -> None:
    flows, told_s, over = 0, time.monotonic(), False
    while not over:
        over = ended.is_set()
        facts, now_s = health.snapshot(), time.monotonic()
        rate = (facts.get("flows", 0) - flows) / max(now_s - told_s, every_s / 2)
        flows, told_s = facts.get("flows", 0), now_s
        beat = Heartbeat(health.role, name, socket.gethostname(), port, datetime.now(UTC), rate, facts, over)
        with suppress(StoreError):
            feed.append(write_heartbeat(beat))
        ended.wait(every_s)


def write_heartbeat(beat: Heartbeat) -> bytes:
    """A heartbeat as it stands in the feed: JSON."""
    return json.dumps({**asdict(beat), "at": beat.at.isoformat()}).encode()


def read_heartbeat(body: bytes) -> Heartbeat:
    """What `write_heartbeat` wrote. Raises InputError for anything else."""
    try:
        facts = json.loads(body)
        return Heartbeat(**{**facts, "at": datetime.fromisoformat(facts["at"]), "health": dict(facts["health"])})
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{len(body):,} bytes are no heartbeat ({type(error).__name__}: {error})") from None
