"""Flows of a file as one table, for questions about a network rather than about each flow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import InputError
from netwarden.flows.table import FlowTable
from netwarden.scoring.intake import FlowBatch, read_flows
from netwarden.scoring.model import Model

MOST_ROWS = 1_000_000  # of 41 features: 164 MB as a matrix


@dataclass(frozen=True)
class Sample:
    """Flows in the order of their file; `rows` is the input row of each, from 0, `rejected` how many were no flows.

    `cut`: the file holds more, which were not read.
    """

    table: FlowTable
    rows: npt.NDArray[np.int64]
    rejected: int
    cut: bool

    def __str__(self) -> str:
        notes = [f"{self.rejected:,} rows rejected"] * bool(self.rejected) + ["the rest was not read"] * self.cut
        return f"{len(self.table):,} flows" + "".join(f"; {note}" for note in notes)


def read_sample(model: Model, source: Path, most_rows: int = MOST_ROWS) -> Sample:
    """The first flows of a file that `read_flows` reads. Raises InputError where it holds none."""
    if not source.is_file():
        raise InputError(f"{source} is not there, or is no file")
    batches: list[FlowBatch] = []
    total = 0
    for batch in read_flows(source, model.schema, model.vocabulary, published=model.published):
        batches.append(batch)
        total += len(batch.table)
        if total > most_rows:
            break
    if not total:
        raise InputError(f"{source.name} holds no flow of schema {model.schema.id}; were all its rows rejected?")
    filled = [batch for batch in batches if len(batch.table)]
    whole = FlowTable(
        pa.concat_tables([batch.table.arrow for batch in filled]).combine_chunks(),
        model.schema.id,
        filled[0].table.meter,
    )
    rows = np.concatenate([batch.rows for batch in filled])[:most_rows]
    rejected = sum(len(batch.rejected) for batch in batches)
    return Sample(whole.slice(0, most_rows), rows, rejected, total > most_rows)
