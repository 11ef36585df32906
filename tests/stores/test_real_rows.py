"""The same file through ETL into every backend: the same rows, bit by bit, and the same content hash."""

import gzip
from itertools import islice
from pathlib import Path

import pyarrow as pa

from netwarden.settings import load_settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.etl import run_etl
from tests.fixtures.data import ROOT


def test_nsl_kdd_is_the_same_in_every_backend(nsl_kdd, mongodb_uri, tmp_path):
    for name in ("KDDTrain+.txt", "KDDTest+.txt"):
        with gzip.open(nsl_kdd / f"{name}.gz", "rt") as whole:
            (tmp_path / name).write_text("".join(islice(whole, 300)))
    (tmp_path / "schema").symlink_to(ROOT / "schema")
    embedded, mongodb = (
        _loaded(tmp_path, {"NETWARDEN_HOME": str(tmp_path / "home"), **environment})
        for environment in ({}, {"MONGODB_URI": mongodb_uri})
    )
    assert embedded[0].num_rows == 600
    assert embedded[0].equals(mongodb[0])
    assert embedded[1] == mongodb[1]


def _loaded(folder: Path, environment: dict[str, str]) -> tuple[pa.Table, object]:
    """All rows in order of their id, and the summary."""
    settings = load_settings({"NETWARDEN_WORKSPACE": str(folder), **environment})
    run_etl(
        settings,
        [folder / "KDDTrain+.txt", folder / "KDDTest+.txt"],
        dataset="nsl_kdd",
        schema="nsl_kdd",
        labels=None,
    )
    store = open_flow_store(settings)
    try:
        return pa.concat_tables(store.scan("nsl_kdd")).sort_by("row_id"), store.summary("nsl_kdd")
    finally:
        store.close()
