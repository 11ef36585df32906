"""A dataset as the store holds it, in an order that no store or loading can change."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa

from netwarden.errors import DataCheckError
from netwarden.flows.schema import RESERVED, ROW_ID, FlowSchema, load_schema
from netwarden.flows.table import FlowTable
from netwarden.settings import Settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.manifest import read_manifest


def read_stored(settings: Settings, dataset: str, schema_id: str = "") -> tuple[FlowTable, FlowSchema]:
    """All rows of a dataset, by row id, and their schema (by default the one that the manifest names).

    Raises NotFoundError where it was never loaded, DataCheckError where the store holds other rows than the manifest.
    """
    manifest = read_manifest(settings.manifests_dir, dataset)
    schema = load_schema(schema_id or manifest.schema_id, settings.schema_dir)
    with closing(open_flow_store(settings)) as store:
        held = store.summary(dataset)
        if held.content_hash != manifest.content_hash:
            raise DataCheckError(
                f"{store.address} holds other rows of {dataset} ({sum(held.rows.values())}) than the manifest says "
                f"({sum(manifest.rows.values())}); load the dataset again with ETL.py, which writes both"
            )
        table = pa.concat_tables(store.scan(dataset))
    names = [ROW_ID, *(column.name for column in schema.stored), *RESERVED[1:]]
    columns = [name for name in names if name in table.column_names]
    return FlowTable(table.select(columns).sort_by(ROW_ID).combine_chunks(), schema.id), schema
