"""A made-up flow table that the real splits and checks run on."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from netwarden.flows.schema import Column, FlowSchema, SplitPolicy
from netwarden.flows.table import FlowTable


@pytest.fixture
def schema() -> FlowSchema:
    return FlowSchema(
        id="toy",
        columns=(
            Column(name="bytes", type="int", range=(0, None)),
            Column(name="rate", type="float"),
            Column(name="service", type="string", open=True),
            Column(name="seen_at", type="time", role="time", optional=True),
            Column(name="truth", type="string", role="label"),
        ),
        split=SplitPolicy(policy="official"),
    )


@pytest.fixture
def table() -> FlowTable:
    return make_table(4000, seed=3)


def make_table(rows: int, seed: int) -> FlowTable:
    """Rows in which a fifth repeats the features of another row; 60 % benign, one rare family, a quarter tests."""
    rng = np.random.default_rng(seed)
    origin = np.where(rng.random(rows) < 0.2, rng.integers(0, rows, rows), np.arange(rows))
    labels = rng.choice(["benign", "neptune", "smurf", "rootkit"], rows, p=[0.6, 0.25, 0.14, 0.01])[origin]
    families = np.array([{"neptune": "dos", "smurf": "dos", "rootkit": "u2r"}.get(name, "benign") for name in labels])
    size = rng.choice(10**6, rows, replace=False)[origin]
    return FlowTable(
        pa.table(
            {
                "row_id": pa.array([row.to_bytes(16, "big") for row in range(rows)], pa.binary(16)),
                "bytes": pa.array(size, pa.int64()),
                "rate": pa.array(np.where(size % 7 == 0, np.nan, size / 3.0), pa.float64(), from_pandas=True),
                "service": pa.array(np.array(["http", "dns", "smtp"])[size % 3], pa.string()),
                "seen_at": pa.array(np.arange(rows) * 10**6, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
                "label": labels.tolist(),
                "family": families.tolist(),
                "split": np.where(rng.random(rows) < 0.25, "test", "train").tolist(),
                "source_file": ["toy.csv"] * rows,
                "source_line": pa.array(np.arange(rows) + 1, pa.int64()),
            }
        ),
        "toy",
    )


def with_column(table: FlowTable, name: str, values: object) -> FlowTable:
    """The table with one column replaced, of the same type."""
    index = table.arrow.schema.get_field_index(name)
    field = table.arrow.schema.field(index)
    return replace(table, arrow=table.arrow.set_column(index, field, pa.array(values, field.type, from_pandas=True)))
