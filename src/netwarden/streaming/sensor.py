"""The sensor: makes flows, of an interface, of captures or of a dataset's test rows, and sends them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden import telemetry
from netwarden.flows.table import FlowTable
from netwarden.logs import get
from netwarden.sections import StreamSettings
from netwarden.settings import Settings
from netwarden.sources.store import Queue
from netwarden.streaming.batch import ENDED_BY, FLOW_ID, HAD_INTERIM, INTERIM, Badge, StreamBatch
from netwarden.streaming.clocks import Clock, clock_watch, wall_clock
from netwarden.streaming.health import Health
from netwarden.streaming.outbox import Outbox
from netwarden.streaming.replay import Position, ReplayPlan, replayed, rows_to_replay
from netwarden.streaming.spool import Spool
from netwarden.streaming.tracing import Tracing

_log = get(__name__)
Flows = Iterator[tuple[FlowTable, int]]  # with how many rows have been given so far
_MB = 1 << 20


@dataclass(frozen=True)
class Source:
    """Where a sensor's flows come from. `sent` is told how far it got, `ended` that all were sent."""

    badge: Badge
    flows: Callable[[threading.Event], Flows]
    sent: Callable[[int], None] = lambda _: None
    ended: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class SensorReport:
    """What a sensor did until it stopped."""

    flows: int
    spooled_batches: int

    def __str__(self) -> str:
        waiting = f"; {self.spooled_batches} batches wait on disk for the next start" if self.spooled_batches else ""
        return f"{self.flows:,} flows sent{waiting}"


def sensor_name(settings: StreamSettings) -> str:
    """The name set, else the host's."""
    return settings.sensor or socket.gethostname()


class Sensor:
    """Sends what its source gives to a queue, until that ends or it is told to stop."""

    def __init__(
        self,
        source: Source,
        queue: Queue,
        settings: Settings,
        clock: Clock = wall_clock,
        tracing: Tracing | None = None,
    ) -> None:
        stream = settings.stream
        self._clock = clock
        self._tracing = tracing
        self.health = Health("sensor")
        self._source = source
        self._name = sensor_name(stream)
        self._batch_rows = stream.batch_rows
        self._outbox = Outbox(
            queue,
            Spool(spool_folder(settings), stream.spool_mb * _MB),
            self.health,
            self._name,
            badge=source.badge,
            batch_rows=stream.batch_rows,
            when_full=stream.when_full,
            sent=source.sent,
        )

    def run(self, stop: threading.Event, patience_s: float = 5.0) -> SensorReport:
        """Send until the source ends or `stop` is set; then what is left goes to the queue, or to disk for later."""
        self._outbox.start()
        flows, place = 0, 0
        try:
            for table, end in self._source.flows(stop):
                place = end - len(table)
                for start in range(0, len(table), self._batch_rows):
                    piece = table.slice(start, self._batch_rows)
                    place += len(piece)
                    batch = StreamBatch(piece, self._source.badge, self._name, self._clock())
                    with nullcontext(batch) if self._tracing is None else self._tracing.sending(batch) as traced:
                        self._outbox.send(traced, place, stop)
                    flows += len(piece)
                self.health.note(flows=flows)
        finally:
            complete = not stop.is_set()
            left = self._outbox.close(patience_s)
        if complete:
            self._source.ended()
        return SensorReport(flows, left)


def spool_folder(settings: Settings) -> Path:
    """Where a sensor of this name keeps what waits."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in sensor_name(settings.stream))
    return settings.home / "spool" / safe


def packets_socket(settings: Settings) -> Path:
    """Where a sensor that keeps recent packets gives them out."""
    return spool_folder(settings) / "packets.sock"


def replay_source(settings: Settings, plan: ReplayPlan) -> Source:
    """Test rows of a stored dataset; goes on where a killed replay had got to. Raises as `rows_to_replay`."""
    rows = rows_to_replay(settings, plan.dataset, shuffled=plan.shuffled)
    name, folder = sensor_name(settings.stream), spool_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    position = Position(folder / "replay.json", plan)

    def flows(stop: threading.Event) -> Flows:
        return replayed(rows, plan, name, stop, position.rows)

    if plan.loop:
        return Source("replay", flows)
    return Source("replay", flows, position.keep, position.forget)


def capture_source(settings: Settings, captures: Sequence[str], meter: Any) -> Source:
    """Flows of capture files; `meter` is the MeterSettings to meter them with."""
    from netwarden.capture.metering import meter_captures  # noqa: PLC0415 - Numba is for those who meter

    def flows(stop: threading.Event) -> Flows:
        for table, end in _numbered(meter_captures(list(captures), meter, sensor=sensor_name(settings.stream))):
            if stop.is_set():
                return
            yield table, end

    return Source("capture", flows)


def live_source(
    settings: Settings, interface: str, meter: Any, watch: Callable[[], Callable[[], bool]] = clock_watch
) -> Source:
    """Flows of an interface, those still open reported now and then as `meter` (MeterSettings) says.

    When the clock was set, which `watch` gives a question for, metering begins anew: the flows open then end, for their
    durations would be false. Where the settings ask for recent packets, `netwarden meter extract` gets them at
    `packets_socket` while it runs. Raises ConfigError where their size is none.
    """
    from netwarden.capture.metering import MeterReport, meter_live  # noqa: PLC0415 - as above
    from netwarden.capture.recent import RecentPackets, bytes_of  # noqa: PLC0415
    from netwarden.capture.recent_socket import packets_served  # noqa: PLC0415

    size = bytes_of(settings.stream.recent_packets) if settings.stream.recent_packets else 0
    name = sensor_name(settings.stream)

    def tables(stop: threading.Event, recent: RecentPackets | None) -> Iterator[FlowTable]:
        report, dropped = MeterReport(), 0
        while not stop.is_set():
            was_set = watch()
            yield from meter_live(
                interface,
                meter,
                lambda: stop.is_set() or was_set(),  # noqa: B023 - called in this turn of the loop only
                sensor=name,
                report=report,
                progress=lambda report: _show_capture(name, report, dropped, meter.max_flows),  # noqa: B023 - as above
                recent=recent,
            )
            dropped += report.dropped or 0
            if not stop.is_set():
                _log.warning("the clock was set, metering begins anew", extra={"sensor": name})

    def flows(stop: threading.Event) -> Flows:
        recent = RecentPackets(size, original=meter.mode == "cicflowmeter") if size else None
        with nullcontext() if recent is None else packets_served(recent, packets_socket(settings)):
            yield from _numbered(with_interim_marks(tables(stop, recent)))

    return Source("live", flows)


def _show_capture(name: str, report: Any, dropped: int, most_flows: int) -> None:
    telemetry.CAPTURE_PACKETS.labels(name).set(report.packets)
    telemetry.CAPTURE_DROPPED.labels(name).set(dropped + (report.dropped or 0))
    telemetry.CAPTURE_OPEN_FLOWS.labels(name).set(report.open_flows)
    telemetry.CAPTURE_TABLE_FLOWS.labels(name).set(most_flows)


def _numbered(tables: Iterator[FlowTable]) -> Flows:
    end = 0
    for table in tables:
        end += len(table)
        yield table, end


def with_interim_marks(tables: Iterator[FlowTable]) -> Iterator[FlowTable]:
    """Tables whose column `had_interim` says of each final record whether the flow had been reported before."""
    reported: set[str] = set()
    for table in tables:
        names = table.arrow.column(FLOW_ID).to_pylist()
        is_open = pc.equal(table.arrow.column(ENDED_BY), INTERIM).to_pylist()
        had = []
        for name, still_open in zip(names, is_open, strict=True):
            had.append(not still_open and name in reported)
            (reported.add if still_open else reported.discard)(name)
        yield replace(table, arrow=table.arrow.append_column(HAD_INTERIM, pa.array(had, pa.bool_())))
