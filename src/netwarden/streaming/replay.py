"""Rows of a stored dataset as if a sensor saw them: at a rate, in a loop, from where a killed replay had got to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import InputError
from netwarden.evaluation.split import TEST
from netwarden.flows.schema import FAMILY, SOURCE_FILE, SOURCE_LINE, SPLIT
from netwarden.flows.table import FlowTable
from netwarden.settings import Settings
from netwarden.sources.connect import open_flow_store
from netwarden.streaming.batch import named_rows

_TICK_S = 0.01  # flows are sent this often
_SEED = 7  # of the shuffled order: the same each time, so that a replay can be resumed


@dataclass(frozen=True)
class ReplayPlan:
    """What to replay and how. `rate` 0: as fast as it is taken."""

    dataset: str
    rate: float
    shuffled: bool = False
    loop: bool = False
    batch_rows: int = 2048


def rows_to_replay(settings: Settings, dataset: str, *, shuffled: bool) -> FlowTable:
    """The test rows of a stored dataset, in the order of its files or in a drawn one that is the same each time.

    Raises InputError where it has none: a detector was trained on the others. NotFoundError: no such dataset.
    """
    with closing(open_flow_store(settings)) as store:
        summary = store.summary(dataset)
        parts = list(store.scan(dataset, TEST))
    if not parts or not sum(len(part) for part in parts):
        raise InputError(
            f"dataset {dataset!r} has no split {TEST!r} to replay, only {', '.join(sorted(summary.rows))}; "
            "detectors were trained on those"
        )
    table = pa.concat_tables(parts)
    table = table.take(pc.sort_indices(table, [(SOURCE_FILE, "ascending"), (SOURCE_LINE, "ascending")]))
    if shuffled:
        table = table.take(pa.array(np.random.default_rng(_SEED).permutation(len(table))))
    return FlowTable(table.combine_chunks(), summary.schema_id)


def replayed(
    rows: FlowTable, plan: ReplayPlan, sensor: str, stop: threading.Event, start: int = 0
) -> Iterator[tuple[FlowTable, int]]:
    """Flows from row `start` on, each with the place behind it in all passes; ends with the rows, or at `stop`."""
    began_s, place, pass_name = time.monotonic(), start, ""
    sendable = _sendable(rows)
    per_tick = plan.batch_rows if not plan.rate else max(1, min(plan.batch_rows, round(plan.rate * _TICK_S)))
    while not stop.is_set():
        if plan.rate and stop.wait(max(0.0, began_s + (place - start) / plan.rate - time.monotonic())):
            return
        at = place % len(rows)
        if plan.loop and at == 0:
            pass_name = datetime.now(UTC).isoformat()
        taken = min(per_tick, len(rows) - at)
        place += taken
        yield named_rows(sendable.slice(at, taken), sensor, pass_name), place
        if not plan.loop and place >= len(rows):
            return


def _sendable(rows: FlowTable) -> FlowTable:
    """Without where they are from, which says nothing of a flow; `row_id` names it and `label` is its truth."""
    kept = [name for name in rows.names if name not in (FAMILY, SPLIT, SOURCE_FILE, SOURCE_LINE)]
    return FlowTable(rows.arrow.select(kept), rows.schema_id, rows.meter)


class Position:
    """How far a replay has got, in a file; a plan of its own begins at the start, as does one that had ended."""

    def __init__(self, path: Path, plan: ReplayPlan) -> None:
        self._path = path
        self._plan = {"dataset": plan.dataset, "shuffled": plan.shuffled}
        self.rows = 0 if plan.loop else self._read()

    def _read(self) -> int:
        try:
            kept: Any = json.loads(self._path.read_text(encoding="utf-8"))
            return int(kept["rows"]) if kept["plan"] == self._plan else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def keep(self, rows: int) -> None:
        """Remember that so many rows are on their way."""
        self.rows = rows
        part = self._path.with_suffix(".part")
        with suppress(OSError):  # a disk that is full: what is sent again is known by its ids
            part.write_text(json.dumps({"plan": self._plan, "rows": rows}), encoding="utf-8")
            part.replace(self._path)

    def forget(self) -> None:
        """The replay is complete: the next one begins at the start."""
        self._path.unlink(missing_ok=True)
