"""What a worker keeps of the flows of a network that it learns: a bounded sample, on disk through restarts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import ConfigError, InputError
from netwarden.flows.table import FlowTable, MeterStamp
from netwarden.streaming.batch import ENDED_BY, FLOW_ID, INTERIM, StreamBatch, column_of, from_ipc, to_ipc

_FACTS = b"netwarden.lesson"
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_ABOUT = ("started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "meter_version")
_ROOM = 1.25  # the sample is cut to its size where it is larger by this

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Span:
    """How long a network is watched: for some seconds, or until so many flows have passed; the other is 0."""

    seconds: float = 0.0
    flows: int = 0


def span_of(text: str) -> Span:
    """Span that `30m`, `12h`, `7d` or a number of flows stands for. Raises ConfigError for anything else."""
    number, unit = text[:-1], text[-1:]
    if text.isdecimal() and int(text) > 0:
        return Span(flows=int(text))
    if number.isdecimal() and int(number) > 0 and unit in _UNITS_S:
        return Span(seconds=int(number) * _UNITS_S[unit])
    raise ConfigError(f"--learn is {text!r}; it is a time such as 30m, 12h or 7d, or a number of flows such as 20000")


@dataclass(frozen=True)
class Progress:
    """How far a lesson is: time spent watching, flows that passed, whether all of them came as they happened.

    `replayed`: some were test rows of a dataset.
    """

    watched_s: float = 0.0
    passed: int = 0
    live: bool = True
    failed: int = 0  # times that this sample did not suffice
    replayed: bool = False

    def over(self, span: Span) -> bool:
        """Whether the span is over, or once more that span for each failure."""
        times = 1 + self.failed
        if span.flows:
            return self.passed >= span.flows * times
        return self.watched_s >= span.seconds * times


class Lesson:
    """Flows of one schema, each that passed as likely as any other to be among them, at most `most`.

    They are those whose ids have the smallest hashes: a flow that is delivered again is still one flow. Of a flow that
    was reported while open only the final record counts. What is in `file` is gone on with.
    """

    def __init__(self, file: Path, schema_id: str, features: tuple[str, ...], most: int) -> None:
        self.progress = Progress()
        self._file = file
        self._schema_id = schema_id
        self._columns = (FLOW_ID, *_ABOUT, *features)
        self._most = most
        self._meter: MeterStamp | None = None
        self._held: list[Any] = []
        self._rows = 0
        self._below = np.uint64(2**64 - 1)  # hashes of ids that are not too large
        self._open()

    def __len__(self) -> int:
        return min(self._rows, self._most)

    def take(self, batch: StreamBatch) -> None:
        """Count the flows of a batch, and hold some of them."""
        arrow = batch.flows.arrow
        ended_by = column_of(arrow, ENDED_BY)
        if ended_by is not None:
            arrow = arrow.filter(pc.fill_null(pc.not_equal(ended_by, INTERIM), True))
        self.progress = replace(
            self.progress,
            passed=self.progress.passed + arrow.num_rows,
            live=self.progress.live and batch.source == "live",
            replayed=self.progress.replayed or batch.source == "replay",
        )
        self._meter = self._meter or batch.flows.meter
        low = arrow.filter(pa.array(_hashes(arrow) <= self._below))
        if low.num_rows:
            self._held.append(low.select([name for name in self._columns if name in low.column_names]))
            self._rows += low.num_rows
        if self._rows > self._most * _ROOM:
            self._cut()

    def watched(self, seconds: float) -> None:
        """Count time in which flows would have been seen."""
        self.progress = replace(self.progress, watched_s=self.progress.watched_s + seconds)

    def failed(self) -> None:
        """Watch for once more the span."""
        self.progress = replace(self.progress, failed=self.progress.failed + 1)

    def flows(self) -> FlowTable:
        """What is held. Raises InputError where that is nothing."""
        self._cut()
        if not self._held:
            raise InputError(f"no flow of schema {self._schema_id} has passed yet")
        return FlowTable(self._held[0], self._schema_id, self._meter)

    def keep(self) -> None:
        """Write it to disk, all of it or nothing."""
        self._cut()
        if not self._held:
            return
        meter = [self._meter.mode, self._meter.version] if self._meter else None
        facts = {"schema_id": self._schema_id, "meter": meter, "progress": asdict(self.progress)}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(to_ipc(self._held[0].replace_schema_metadata({_FACTS: json.dumps(facts).encode()})))
        draft.replace(self._file)

    def forget(self) -> None:
        """Remove it from disk."""
        self._file.unlink(missing_ok=True)

    def _open(self) -> None:
        """What an earlier run kept, unless the file is of another schema or damaged: then it begins anew."""
        if not self._file.is_file():
            return
        try:
            table = from_ipc(self._file.read_bytes())
            facts = json.loads(table.schema.metadata[_FACTS])
            progress = Progress(**facts["progress"])
        except (pa.ArrowException, ValueError, KeyError, TypeError):
            return
        if facts["schema_id"] == self._schema_id:
            self.progress, self._held, self._rows = progress, [table.replace_schema_metadata()], table.num_rows
            self._meter = MeterStamp(*facts["meter"]) if facts["meter"] else None
            self._cut()

    def _cut(self) -> None:
        """Hold every flow once, and no more than `most`."""
        if not self._held:
            return
        whole = pa.concat_tables(self._held, promote_options="default").combine_chunks()
        hashes, first = np.unique(_hashes(whole), return_index=True)
        self._held = [whole.take(pa.array(np.sort(first[: self._most])))]
        self._rows = self._held[0].num_rows
        if self._rows == self._most:
            self._below = hashes[self._most - 1]


def _hashes(arrow: Any) -> Hashes:
    """Of the ids, and the same in every process."""
    ids = np.asarray(arrow.column(FLOW_ID).to_pylist(), dtype=object)
    return np.asarray(pd.util.hash_array(ids, categorize=False), np.uint64)
