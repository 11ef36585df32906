"""Stage 1: a snapshot of the dataset, from the store to Parquet."""

from __future__ import annotations

from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.sources.stored import read_stored
from netwarden.stages.workspace import enter, write_flows


def run(settings: Settings, params: Params) -> str:
    """Rows of the dataset as its manifest describes them; other rows in the store are refused."""
    table, schema = read_stored(settings, params.ingest.dataset, params.ingest.schema_id)
    write_flows(settings, table.arrow, schema)
    return f"{len(table)} rows of {params.ingest.dataset}"


if __name__ == "__main__":
    enter("ingest", run)
