"""What travels from sensors to workers: flows with where they come from, packed into one byte body."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

import pyarrow as pa

from netwarden.errors import InputError
from netwarden.flows.schema import ROW_ID
from netwarden.flows.table import FlowTable, MeterStamp, content_hash

Badge = Literal["live", "capture", "replay"]
FLOW_ID = "flow_id"
ENDED_BY = "ended_by"
HAD_INTERIM = "had_interim"  # beside the schema's columns: an earlier record of this flow was sent, while it was open
TRACE_ID = "trace_id"  # of OpenTelemetry, where a sensor traces
INTERIM = "interim"  # what the meter says in `ended_by` of a flow that is still open

_FACTS = b"netwarden.stream"
_FORMAT = 1
_MOST_TRACES = 128  # that a batch names; its rows name them all
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMPRESSED_FROM = 256  # rows; a few of them cost more to compress than to send


@dataclass(frozen=True)
class StreamBatch:
    """Flows of one sensor and one schema. Each row has a `flow_id`, the same whoever sends the flow again.

    The table may hold `label` (truth that came with the flows), `had_interim` and `trace_id`. `traces` are the contexts
    (W3C traceparent) of the spans that sent it.
    """

    flows: FlowTable
    source: Badge
    sensor: str
    sent_at: datetime
    traces: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.flows)

    @property
    def kind(self) -> tuple[object, ...]:
        """What batches must have in common to be joined."""
        return (self.flows.schema_id, self.flows.meter, self.source, self.sensor, tuple(self.flows.names))

    def part(self, start: int, length: int) -> StreamBatch:
        """Rows start … start + length, sharing memory."""
        return replace(self, flows=self.flows.slice(start, length))


def joined(batches: Sequence[StreamBatch]) -> StreamBatch:
    """Batches of one kind as one, as old as the oldest of them."""
    first = batches[0]
    if len(batches) == 1:
        return first
    arrow = pa.concat_tables([batch.flows.arrow.replace_schema_metadata() for batch in batches])
    traces = dict.fromkeys(trace for batch in batches for trace in batch.traces)
    sent_at = min(batch.sent_at for batch in batches)
    flows = replace(first.flows, arrow=arrow)
    return replace(first, flows=flows, sent_at=sent_at, traces=tuple(traces)[:_MOST_TRACES])


def pack(batch: StreamBatch) -> bytes:
    """The batch as an Arrow IPC stream that says by itself what it is."""
    meter = batch.flows.meter
    facts = {
        "format": _FORMAT,
        "schema_id": batch.flows.schema_id,
        "meter": [meter.mode, meter.version] if meter else None,
        "source": batch.source,
        "sensor": batch.sensor,
        "sent_at_us": (batch.sent_at - _EPOCH) // timedelta(microseconds=1),
        **({"traces": batch.traces} if batch.traces else {}),
    }
    return to_ipc(batch.flows.arrow.replace_schema_metadata({_FACTS: json.dumps(facts).encode()}))


def to_ipc(table: Any) -> bytes:
    """A table as an Arrow IPC stream, compressed where that pays."""
    compression = "lz4" if table.num_rows >= _COMPRESSED_FROM else None
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    body: bytes = sink.getvalue().to_pybytes()
    return body


def from_ipc(body: bytes) -> Any:
    """The table of `to_ipc`. Raises ArrowException or OSError."""
    with pa.ipc.open_stream(body, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        return reader.read_all()


def unpack(body: bytes) -> StreamBatch:
    """The batch that `pack` made. Raises InputError for anything else."""
    try:
        table = from_ipc(body)
        table.validate()
        facts = json.loads((table.schema.metadata or {})[_FACTS])
        if facts["format"] != _FORMAT or facts["source"] not in get_args(Badge):
            raise ValueError(f"format {facts['format']}, source {facts['source']!r}")
        meter = MeterStamp(*facts["meter"]) if facts["meter"] else None
        sent_at = _EPOCH + timedelta(microseconds=facts["sent_at_us"])
        if FLOW_ID not in table.column_names:
            raise ValueError(f"no column {FLOW_ID}")
        flows, traces = FlowTable(table, str(facts["schema_id"]), meter), tuple(map(str, facts.get("traces", ())))
        return StreamBatch(flows, facts["source"], str(facts["sensor"]), sent_at, traces)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{len(body):,} bytes are no batch of flows ({type(error).__name__}: {error}); "
            "was it sent by another version, or by something else?"
        ) from None


def named_rows(table: FlowTable, sensor: str, pass_name: str = "") -> FlowTable:
    """Stored rows with a flow_id made of the sensor and the row id, and so the same in every replay.

    Each pass of a replay in a loop has its own name, since its flows are new ones.
    """
    start = content_hash(b"replay", sensor.encode(), pass_name.encode())
    ids = [content_hash(start, row_id).hex() for row_id in table.arrow[ROW_ID].to_pylist()]
    arrow = table.arrow.drop_columns([FLOW_ID]) if FLOW_ID in table.names else table.arrow
    return replace(table, arrow=arrow.append_column(FLOW_ID, pa.array(ids, pa.string())))


def column_of(table: Any, name: str) -> Any:
    """A column, or None where the table has none of this name."""
    place = table.schema.get_field_index(name)
    return table.column(place) if place >= 0 else None
