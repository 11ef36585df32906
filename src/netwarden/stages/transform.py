"""Stage 3: which rows do what, and training rows as a matrix; the preprocessor sees only rows to fit on."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq

from netwarden.evaluation.split import TEST, assign_parts
from netwarden.flows.schema import ROW_ID
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.stages.workspace import enter, output_folder, read_flows, write_json
from netwarden.training.rows import meter_stamp, prepare, training_hash


def run(settings: Settings, params: Params) -> str:
    """Parts of all rows; preprocessor and matrix of those that are not test rows."""
    table, schema = read_flows(settings)
    parts = assign_parts(table, schema, params.transform)
    preprocessor, rows = prepare(table, parts, schema, params.transform.features, params.transform.leave_out)
    folder = output_folder(settings, "transform")
    pq.write_table(pa.table({ROW_ID: table.arrow.column(ROW_ID), "part": parts}), folder / "parts.parquet")
    preprocessor.save(folder / "preprocessor.npz")
    rows.save(folder / "training.npz")
    meter = meter_stamp(table, schema)
    facts = {"data_hash": training_hash(table, parts), "meter": meter and asdict(meter)}
    write_json(folder / "facts.json", facts)
    return f"{len(rows.matrix)} training rows of {len(preprocessor.names)} features, {(parts == TEST).sum()} test rows"


if __name__ == "__main__":
    enter("transform", run)
