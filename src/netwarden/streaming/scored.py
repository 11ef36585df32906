"""Scored flows for others: batches in a feed, and JSON lines in rotated files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from logging import LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import ConfigError, InputError
from netwarden.flows.schema import LABEL
from netwarden.streaming.batch import FLOW_ID, column_of, from_ipc, to_ipc
from netwarden.streaming.judge import Judged

_ABOUT = (FLOW_ID, "started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", LABEL)
_FACTS = b"netwarden.scored"
_MB = 1 << 20
POSITIVE, NEGATIVE = "positive_predictions.log", "negative_predictions.log"


def scored_table(judged: Judged, at: datetime) -> Any:
    """Ids and endpoints of flows beside their scores, as an Arrow table.

    Its metadata `netwarden.scored` says as JSON: bundle_id, schema_id, source, sensor, sent_at and scored_at.
    """
    flows, batch = judged.batch.flows.arrow, judged.batch
    about = {name: column for name in _ABOUT if (column := column_of(flows, name)) is not None}
    facts = {
        "bundle_id": judged.bundle_id,
        "schema_id": batch.flows.schema_id,
        "source": batch.source,
        "sensor": batch.sensor,
        "sent_at": batch.sent_at.isoformat(),
        "scored_at": at.isoformat(),
    }
    table = pa.table([*about.values(), *judged.result.columns], names=[*about, *judged.result.column_names])
    return table.replace_schema_metadata({_FACTS: json.dumps(facts).encode()})


def pack_scored(table: Any) -> bytes:
    """A table of `scored_table` as an Arrow IPC stream, as it stands in the feed."""
    return to_ipc(table)


def unpack_scored(body: bytes) -> Any:
    """The table that `pack_scored` packed. Raises InputError for anything else."""
    try:
        return from_ipc(body)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{len(body):,} bytes are no batch of scored flows: {error}") from None


def facts_of(table: Any) -> dict[str, str]:
    """What the metadata of a `scored_table` says."""
    found: dict[str, str] = json.loads(table.schema.metadata[_FACTS])
    return found


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

    def write(self, table: Any) -> None:
        """Append the flows of a `scored_table`. Raises OSError, as where the disk is full."""
        alerts = pc.greater_equal(table.column("score"), table.column("threshold"))
        facts = facts_of(table)
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
