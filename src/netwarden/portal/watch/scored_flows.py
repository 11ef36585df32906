"""What the feed of scored flows said lately, kept in bounded memory for the pages that show it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from netwarden.detectors.reference import SCORE_EDGES
from netwarden.errors import InputError, NetwardenError
from netwarden.flows.table import alert_id
from netwarden.logs import get
from netwarden.portal.watch.stream_truth import Tallies, Tally
from netwarden.settings import Settings
from netwarden.sources.connect import open_feed
from netwarden.streaming.batch import ENDED_BY, FLOW_ID, INTERIM
from netwarden.streaming.scored import ScoredBatch, read_scored

SECONDS = 600  # how far back rates are known
_BATCHES = 600  # whose delays are known
_ROWS = 2000  # latest flows that can be shown
_ALERTS_OF_A_BATCH, _OTHERS_OF_A_BATCH = 200, 40
_AT_ONCE, _WAIT_S, _PAUSE_S = 32, 0.5, 1.0
_log = get(__name__)


@dataclass(frozen=True)
class ScoredFlow:
    """One scored flow, as lists show it. `number` grows; `alert_id` is None where it did not alert."""

    number: int
    scored_at: datetime
    started_at: datetime | None
    source: str | None
    source_port: int | None
    target: str | None
    target_port: int | None
    protocol: int | None
    score: float
    verdict: str
    family: str | None
    label: str | None
    interim: bool
    alert_id: str | None
    sensor: str
    origin: str


@dataclass
class Second:
    """What was scored in one second."""

    flows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    protocols: Counter[int] = field(default_factory=Counter)

    def copy(self) -> Second:
        return Second(self.flows, self.verdicts.copy(), self.families.copy(), self.protocols.copy())


@dataclass
class Watched:
    """A sensor whose flows came, by what it reads and the schema of its flows."""

    sensor: str
    origin: str
    schema_id: str
    bundle_id: str
    last_seen: datetime
    flows: int = 0
    alerts: int = 0


@dataclass(frozen=True)
class Lately:
    """A copy of what is known. `seconds` by whole second since 1970; `delays_s` of the last minute's batches."""

    fault: str
    flows: int
    alerts: int
    first_at: datetime | None
    last_at: datetime | None
    seconds: dict[int, Second]
    delays_s: tuple[float, ...]
    watched: tuple[Watched, ...]
    rows: tuple[ScoredFlow, ...]
    scores: dict[str, npt.NDArray[np.int64]]  # bundle id → flows per SCORE_EDGES bin
    tallies: tuple[Tally, ...]


class ScoredFlows:
    """Follows the feed from `follow` or the first question on, in a thread of its own. Safe to share."""

    def __init__(self, settings: Settings) -> None:
        self._feed = open_feed(settings)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._thread: threading.Thread | None = None
        self.followers = 0  # who are told of every second
        self._fault = ""
        self._flows = self._alerts = self._number = 0
        self._first_at: datetime | None = None
        self._last_at: datetime | None = None
        self._seconds: dict[int, Second] = {}
        self._delays: deque[tuple[datetime, float]] = deque(maxlen=_BATCHES)
        self._watched: dict[tuple[str, str, str], Watched] = {}
        self._rows: deque[ScoredFlow] = deque(maxlen=_ROWS)
        self._scores: dict[str, npt.NDArray[np.int64]] = {}
        self._tallies = Tallies()

    def lately(self) -> Lately:
        """What is known now; the first to ask waits a moment for what the feed still holds."""
        self.follow()
        self._caught_up.wait(_WAIT_S * 4)
        with self._lock:
            minute = datetime.now(UTC) - timedelta(minutes=1)
            return Lately(
                self._fault,
                self._flows,
                self._alerts,
                self._first_at,
                self._last_at,
                {at: second.copy() for at, second in self._seconds.items()},
                tuple(delay for at, delay in self._delays if at >= minute),
                tuple(sorted(map(replace, self._watched.values()), key=lambda each: each.last_seen, reverse=True)),
                tuple(self._rows),
                {name: counts.copy() for name, counts in self._scores.items()},
                self._tallies.copy(),
            )

    @contextmanager
    def following(self) -> Iterator[None]:
        """Counts whoever follows while the block runs."""
        with self._lock:
            self.followers += 1
        try:
            yield
        finally:
            with self._lock:
                self.followers -= 1

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_WAIT_S * 4)

    def follow(self) -> None:
        """Begin, if nobody has: what the feed drops before is missed."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="scored flows", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        last = ""
        with closing(self._feed):
            while not self._stop.is_set():
                try:
                    # Until all that there is was read, nobody is made to wait for what may come.
                    entries = self._feed.after(last, _AT_ONCE, _WAIT_S if self._caught_up.is_set() else 0)
                except NetwardenError as error:
                    self._report(str(error))
                    self._stop.wait(_PAUSE_S)
                    continue
                self._report("")
                last = entries[-1][0] if entries else last
                self._take(body for _, body in entries)
                if len(entries) < _AT_ONCE:
                    self._caught_up.set()

    def _report(self, fault: str) -> None:
        if fault and fault != self._fault:
            _log.warning("feed of scored flows cannot be read", extra={"error": fault})
        self._fault = fault
        if fault:
            self._caught_up.set()

    def _take(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            try:
                batch = read_scored(body)
            except InputError as error:
                _log.warning("no batch of scored flows", extra={"error": str(error)})
                continue
            if len(batch):
                self._count(batch)

    def _count(self, batch: ScoredBatch) -> None:
        flows = batch.flows
        alerting = pc.greater_equal(flows.column("score"), flows.column("threshold")).to_numpy(zero_copy_only=False)
        scores = np.histogram(flows.column("score").to_numpy(), SCORE_EDGES)[0]
        rows = flows.take(_shown(alerting)).to_pylist()
        at = int(batch.scored_at.timestamp())
        with self._lock:
            second = self._seconds.setdefault(at, Second())
            second.flows += len(batch)
            second.verdicts.update(_counts(flows, "verdict"))
            second.families.update(_counts(flows, "family"))
            second.protocols.update(_counts(flows, "protocol"))
            for old in [moment for moment in self._seconds if moment <= at - SECONDS]:
                del self._seconds[old]
            self._scores[batch.bundle_id] = self._scores.get(batch.bundle_id, np.zeros(50, np.int64)) + scores
            self._delays.append((batch.scored_at, batch.delay_s))
            self._flows += len(batch)
            self._alerts += int(alerting.sum())
            self._first_at = self._first_at or batch.scored_at
            self._last_at = batch.scored_at
            self._see(batch, int(alerting.sum()))
            self._tallies.add(batch)
            for row in rows:
                self._number += 1
                self._rows.append(_row(self._number, row, batch))

    def _see(self, batch: ScoredBatch, alerts: int) -> None:
        key = (batch.sensor, batch.source, batch.schema_id)
        seen = self._watched.setdefault(key, Watched(*key, batch.bundle_id, batch.scored_at))
        seen.bundle_id, seen.last_seen = batch.bundle_id, batch.scored_at
        seen.flows += len(batch)
        seen.alerts += alerts


def _shown(alerting: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Rows of a batch worth a line: its latest alerts, and some of the others from all of it."""
    alerts = np.flatnonzero(alerting)[-_ALERTS_OF_A_BATCH:]
    others = np.flatnonzero(~alerting)
    step = max(1, -(-len(others) // _OTHERS_OF_A_BATCH))
    return np.sort(np.concatenate([alerts, others[::step]]))


def _counts(flows: Any, name: str) -> dict[Any, int]:
    if name not in flows.column_names:
        return {}
    found = pc.value_counts(flows.column(name)).to_pylist()
    return {each["values"]: each["counts"] for each in found if each["values"] is not None}


def _row(number: int, row: dict[str, Any], batch: ScoredBatch) -> ScoredFlow:
    alerts = row["score"] >= row["threshold"]
    return ScoredFlow(
        number=number,
        scored_at=batch.scored_at,
        started_at=row.get("started_at"),
        source=row.get("src_ip"),
        source_port=row.get("src_port"),
        target=row.get("dst_ip"),
        target_port=row.get("dst_port"),
        protocol=row.get("protocol"),
        score=row["score"],
        verdict=row["verdict"],
        family=row["family"],
        label=row.get("label"),
        interim=row.get(ENDED_BY) == INTERIM,
        alert_id=alert_id(row[FLOW_ID]) if alerts else None,
        sensor=batch.sensor,
        origin=batch.source,
    )
