"""Stage 1: a snapshot of the dataset, from the store to Parquet, in an order that no store or loading can change."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pyarrow as pa

from netwarden.errors import DataCheckError
from netwarden.flows.schema import RESERVED, ROW_ID, load_schema
from netwarden.settings import Params, Settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.manifest import read_manifest
from netwarden.stages.workspace import enter, write_flows


def run(settings: Settings, params: Params) -> str:
    """Rows of the dataset as its manifest describes them; other rows in the store are refused."""
    dataset = params.ingest.dataset
    manifest = read_manifest(settings.manifests_dir, dataset)
    schema = load_schema(params.ingest.schema_id or manifest.schema_id, settings.schema_dir)
    with closing(open_flow_store(settings)) as store:
        held = store.summary(dataset)
        if held.content_hash != manifest.content_hash:
            raise DataCheckError(
                f"{store.address} holds other rows of {dataset} ({sum(held.rows.values())}) than the manifest says "
                f"({sum(manifest.rows.values())}); load the dataset again with ETL.py, which writes both"
            )
        table = _in_order(pa.concat_tables(store.scan(dataset)), [column.name for column in schema.stored])
    write_flows(settings, table, schema)
    return f"{table.num_rows} rows of {dataset}"


def _in_order(table: Any, names: list[str]) -> Any:
    """Columns in the schema's order and rows by id."""
    columns = [name for name in (ROW_ID, *names, *RESERVED[1:]) if name in table.column_names]
    return table.select(columns).sort_by(ROW_ID).combine_chunks()


if __name__ == "__main__":
    enter("ingest", run)
