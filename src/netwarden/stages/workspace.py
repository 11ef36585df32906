"""What every stage shares: how it is entered, and the snapshot of flows that stages hand on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from netwarden import jobs, logs
from netwarden.errors import NetwardenError, NotFoundError
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params, load_params
from netwarden.settings import Settings, load_settings

# Share of the whole pipeline that is done when a stage begins; measured on NSL-KDD.
_STARTS = {"ingest": 0.0, "validate": 0.1, "transform": 0.2, "train": 0.3, "evaluate": 0.5, "register": 0.65}


def enter(stage: str, run: Callable[[Settings, Params], str]) -> None:
    """Run one stage as a process: settings and parameters in, progress out, errors of ours as one line."""
    jobs.report(stage, "started", _STARTS[stage])
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format)
        done = _run(run, settings)
    except NetwardenError as error:
        jobs.report(stage, str(error), failed=True)
        print(f"{stage}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - what DVC shows to people
        raise SystemExit(1) from None
    jobs.report(stage, done)
    print(f"{stage}: {done}")  # noqa: T201 - what DVC shows to people


def _run(run: Callable[[Settings, Params], str], settings: Settings) -> str:
    try:
        return run(settings, load_params(settings.workspace / "params.json"))
    except FileNotFoundError as error:
        if not Path(error.filename or "").is_relative_to(settings.pipeline_dir):
            raise
        raise NotFoundError(
            f"{error.filename} is missing; the stage that makes it has not run: `dvc repro` does"
        ) from None


def write_flows(settings: Settings, table: Any, schema: FlowSchema) -> None:
    """Snapshot of flows with the schema that says how to read it; equal flows give equal bytes."""
    folder = output_folder(settings, "ingest")
    pq.write_table(table, folder / "flows.parquet", compression="zstd")
    (folder / "schema.json").write_text(schema.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_flows(settings: Settings) -> tuple[FlowTable, FlowSchema]:
    """The snapshot of flows, and its schema."""
    folder = settings.pipeline_dir / "ingest"
    schema = FlowSchema.model_validate_json((folder / "schema.json").read_bytes())
    return FlowTable(pq.read_table(folder / "flows.parquet"), schema.id), schema


def output_folder(settings: Settings, stage: str, *below: str) -> Path:
    """Folder of a stage's outputs, made if missing."""
    folder = settings.pipeline_dir.joinpath(stage, *below)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and for DVC."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
