"""Dataset manifests: a small file in git that changes exactly when the rows in the store do; DVC depends on it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from netwarden.errors import InputError, NotFoundError
from netwarden.sources.store import DatasetSummary


class Manifest(BaseModel):
    """What a dataset in the store holds. No times: equal rows give equal bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    schema_id: str
    schema_hash: str
    rows: dict[str, int]
    labels: dict[str, int]
    content_hash: str


def manifest_of(summary: DatasetSummary, schema_hash: str) -> Manifest:
    """Manifest of a dataset as the store sums it up."""
    return Manifest(
        dataset=summary.dataset,
        schema_id=summary.schema_id,
        schema_hash=schema_hash,
        rows=dict(sorted(summary.rows.items())),
        labels=dict(sorted(summary.labels.items())),
        content_hash=summary.content_hash,
    )


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write a manifest, whole or not at all; returns its path. An equal one is left as it is."""
    path = folder / f"{manifest.dataset}.json"
    text = manifest.model_dump_json(indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return path


def read_manifest(folder: Path, dataset: str) -> Manifest:
    """Manifest of a dataset. Raises NotFoundError that says how to make it, InputError where it is damaged."""
    path = folder / f"{dataset}.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(
            f"no manifest of dataset {dataset!r} in {folder}; load it with `python ETL.py --dataset {dataset}`"
        ) from None
    except ValidationError as error:
        raise InputError(f"{path} is no dataset manifest: {error.errors()[0]['msg']}") from None
