"""The capture that comes along, to try a detector on: scored like any upload, with the truth beside its verdicts."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv

from netwarden.errors import NotFoundError
from netwarden.flows.labels import load_families
from netwarden.portal.uploads.scoring import incoming, score_upload
from netwarden.portal.uploads.truth import put_truth
from netwarden.portal.uploads.uploads import Upload
from netwarden.scoring.model import Model
from netwarden.settings import Settings

CAPTURE, TRUTH = Path("lab") / "demo.pcap.gz", Path("lab") / "demo.truth.csv.gz"
SCHEMA_ID = "netwarden_flow"
_KEY = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol", "started_at")


def demo_size(settings: Settings, models: Mapping[str, Model]) -> int:
    """Bytes of the demo capture; 0 where it is not here or no detector reads what our meter makes of it."""
    path = settings.workspace / CAPTURE
    return path.stat().st_size if SCHEMA_ID in models and path.is_file() else 0


def score_demo(settings: Settings, model: Model) -> Upload:
    """The demo capture, scored as if somebody had sent it. Raises NotFoundError where it is not here."""
    capture, truth = settings.workspace / CAPTURE, settings.workspace / TRUTH
    if not capture.is_file() or not truth.is_file():
        raise NotFoundError(f"{CAPTURE} and {TRUTH} come with Netwarden, but {settings.workspace} lacks them")
    with incoming(settings) as path:
        shutil.copyfile(capture, path)
        upload = score_upload(settings, model, path, capture.name)
    put_truth(upload, _labels(upload, truth), load_families(settings.schema_dir / "families.yaml"))
    return Upload(upload.folder)  # read afresh: its summary tells of the truth now


def _labels(upload: Upload, truth: Path) -> list[str]:
    """Label of each row by its endpoints and start; empty where the truth does not know the flow."""
    with gzip.open(truth) as file:
        known = pacsv.read_csv(file)
    label_of = {_key(row): row["label"] for row in known.to_pylist()}
    return [label_of.get(_key(row), "") for table in upload.tables() for row in table.select(list(_KEY)).to_pylist()]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    at = row["started_at"]
    return (*(row[name] for name in _KEY[:-1]), at if isinstance(at, int) else round(at.timestamp() * 1e6))
