"""Scored flows for others: batches in a feed, and JSON lines in rotated files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import ConfigError, InputError
from netwarden.flows.schema import LABEL
from netwarden.streaming.batch import ENDED_BY, FLOW_ID, TRACE_ID, Badge, column_of, from_ipc, to_ipc
from netwarden.streaming.judge import Judged

_ABOUT = (FLOW_ID, "started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", ENDED_BY, LABEL, TRACE_ID)
_FACTS = ("bundle_id", "schema_id", "source", "sensor", "sent_at", "scored_at")
_METADATA = b"netwarden.scored"
_MB = 1 << 20
POSITIVE, NEGATIVE = "positive_predictions.log", "negative_predictions.log"


@dataclass(frozen=True)
class ScoredBatch:
    """Flows that one bundle scored, in one piece of the feed.

    `flows` is an Arrow table: flow_id; where the flows have them started_at, endpoints, protocol, ended_by (`interim`:
    still open), label and trace_id; score, verdict, family and threshold. An alert is score >= threshold; its id is
    `netwarden.flows.table.alert_id(flow_id)`. `scored_at` is when the alerts had been stored.
    """

    flows: Any
    bundle_id: str
    schema_id: str
    source: Badge
    sensor: str
    sent_at: datetime  # of the oldest flow
    scored_at: datetime

    def __len__(self) -> int:
        return int(self.flows.num_rows)

    def pieces(self, rows: int) -> Iterator[ScoredBatch]:
        """The batch in pieces of at most so many flows, since a feed is bounded by the number of its entries."""
        for start in range(0, len(self), rows):
            yield replace(self, flows=self.flows.slice(start, rows))

    @property
    def delay_s(self) -> float:
        """From the sending of its oldest flow until all alerts were stored."""
        return (self.scored_at - self.sent_at).total_seconds()

    @property
    def facts(self) -> dict[str, str]:
        """All but the flows, as text."""
        return {name: _text(getattr(self, name)) for name in _FACTS}


def scored_batch(judged: Judged, at: datetime) -> ScoredBatch:
    """Ids and endpoints of flows beside their scores; their alerts had been stored by `at`."""
    flows, batch = judged.batch.flows.arrow, judged.batch
    about = {name: column for name in _ABOUT if (column := column_of(flows, name)) is not None}
    table = pa.table([*about.values(), *judged.result.columns], names=[*about, *judged.result.column_names])
    return ScoredBatch(table, judged.bundle_id, batch.flows.schema_id, batch.source, batch.sensor, batch.sent_at, at)


def write_scored(batch: ScoredBatch) -> bytes:
    """The batch as it stands in the feed: an Arrow IPC stream with the facts as JSON in metadata `netwarden.scored`."""
    return to_ipc(batch.flows.replace_schema_metadata({_METADATA: json.dumps(batch.facts).encode()}))


def read_scored(body: bytes) -> ScoredBatch:
    """What `write_scored` wrote. Raises InputError for anything else."""
    try:
        table = from_ipc(body)
        facts = json.loads((table.schema.metadata or {})[_METADATA])
        times: dict[str, Any] = {name: datetime.fromisoformat(facts[name]) for name in ("sent_at", "scored_at")}
        return ScoredBatch(table.replace_schema_metadata(), **{name: facts[name] for name in _FACTS} | times)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{len(body):,} bytes are no batch of scored flows ({type(error).__name__}: {error})"
        ) from None


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


class PredictionLogs:
    """Scored flows as JSON lines: those that alert in one file, all others in another, both rotated by size.

    One worker writes to a folder; a flow that was delivered twice may stand there twice.
    """

    def __init__(self, folder: Path, most_mb: int, files: int) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = [
                _Lines(folder / name, maxBytes=most_mb * _MB, backupCount=files, encoding="utf-8")
                for name in (POSITIVE, NEGATIVE)
            ]
        except OSError as error:
            raise ConfigError(f"LOG_DIR: {folder} cannot be written ({error.strerror})") from None

    def write(self, batch: ScoredBatch) -> None:
        """Append scored flows. Raises OSError, as where the disk is full."""
        table, facts = batch.flows, batch.facts
        alerts = pc.greater_equal(table.column("score"), table.column("threshold"))
        for file, rows in zip(self._files, (table.filter(alerts), table.filter(pc.invert(alerts))), strict=True):
            for row in rows.to_pylist():
                file.emit(makeLogRecord({"msg": json.dumps({**row, **facts}, default=str)}))

    def close(self) -> None:
        for file in self._files:
            file.close()


class _Lines(RotatingFileHandler):
    """Rotation as logging has it, with lines as they are and errors for the caller."""

    def format(self, record: LogRecord) -> str:
        return str(record.msg)

    def handleError(self, record: LogRecord) -> None:  # noqa: N802, ARG002 - as the base class has it
        raise  # noqa: PLE0704 - called while the error is handled


@contextmanager
def prediction_logs(folder: Path, most_mb: int, files: int) -> Iterator[PredictionLogs]:
    """Prediction logs that are closed after the block."""
    logs = PredictionLogs(folder, most_mb, files)
    try:
        yield logs
    finally:
        logs.close()
