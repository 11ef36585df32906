"""A scored file, scored again by another bundle, and what that changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.table import FlowTable
from netwarden.portal.uploads.rows import read_rows
from netwarden.portal.uploads.uploads import FLOWS, ROWS, Upload
from netwarden.scoring.model import Model

_SAID = pa.schema([("row", pa.int64()), ("verdict", pa.string()), ("score", pa.float64()), ("family", pa.string())])


class Moved(BaseModel):
    """Rows whose verdict went from one to another, or stayed."""

    model_config = ConfigDict(extra="forbid")
    before: str
    after: str
    rows: int


class Difference(BaseModel):
    """What another bundle makes of a file."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "upload_id": "20261121-101500-000000-5f0c2a91",
                "bundle_id": "65ed956f64122dc2",
                "other_id": "271ea427b0da4d33",
                "threshold": 0.02,
                "rows": 400,
                "changed": 3,
                "moved": [{"before": "benign", "after": "novel", "rows": 3}],
            }
        },
    )
    upload_id: str
    bundle_id: str = Field(description="That scored the file")
    other_id: str = Field(description="That scored it again")
    threshold: float = Field(description="Of the other")
    rows: int
    changed: int = Field(description="Rows with another verdict or family")
    moved: list[Moved]

    def count(self, before: str, after: str) -> int:
        """Rows whose verdict went so."""
        return next((each.rows for each in self.moved if (each.before, each.after) == (before, after)), 0)


@dataclass(frozen=True)
class Rescored:
    """Both answers, row by row."""

    upload: Upload
    path: Path

    def changed(self, before: str = "", after: str = "") -> npt.NDArray[np.int64]:
        """Where rows with another verdict or family stand; of those that went from one verdict to another, if given."""
        old, new = self._answers()
        mask = (old["verdict"] != new["verdict"]) | (old["family"] != new["family"])
        if before:
            mask &= old["verdict"] == before
        if after:
            mask &= new["verdict"] == after
        return np.flatnonzero(mask)

    def page(self, positions: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows with both answers: those of the other bundle under `other_verdict`, `other_score`, `other_family`."""
        new = pq.read_table(self.path).take(pa.array(positions)).to_pylist()
        others = [{f"other_{name}": row[name] for name in ("verdict", "score", "family")} for row in new]
        return [{**row, **other} for row, other in zip(read_rows(self.upload, positions), others, strict=True)]

    def difference(self, model: Model) -> Difference:
        """Counts of what changed."""
        old, new = self._answers()
        moved = []
        for before in VERDICTS:
            for after in VERDICTS:
                rows = int(np.count_nonzero((old["verdict"] == before) & (new["verdict"] == after)))
                moved += [Moved(before=before, after=after, rows=rows)] if rows else []
        summary = self.upload.summary
        return Difference(
            upload_id=summary.id,
            bundle_id=summary.bundle_id,
            other_id=model.bundle.bundle_id,
            threshold=model.bundle.threshold,
            rows=summary.rows,
            changed=len(self.changed()),
            moved=moved,
        )

    def _answers(self) -> tuple[dict[str, Any], dict[str, Any]]:
        names = ["verdict", "family"]
        tables = (pq.read_table(path, columns=names) for path in (self.upload.folder / ROWS, self.path))
        first, second = ({name: table.column(name).fill_null("").to_numpy() for name in names} for table in tables)
        return first, second


def rescored(upload: Upload, model: Model, *, anew: bool) -> Rescored:
    """The file as another bundle scores it; worked out once, and kept beside the first answer.

    Without `anew` only what was worked out before is read.
    Raises InputError for a bundle of another schema, NotFoundError where the flows are no longer kept.
    """
    summary, bundle = upload.summary, model.bundle
    if bundle.schema_id != summary.schema_id:
        raise InputError(
            f"bundle {bundle.bundle_id} scores {bundle.schema_id}; {summary.name} is of {summary.schema_id}"
        )
    path = upload.folder / f"rescored-{bundle.bundle_id}.parquet"
    if not path.exists():
        if not anew:
            raise NotFoundError(f"bundle {bundle.bundle_id} has not scored {summary.name}; POST …/rescore has it do so")
        if not upload.has_flows:
            raise NotFoundError(f"the flows of {summary.name} are no longer kept; send the file again to score it anew")
        _score(upload, model, path)
    return Rescored(upload, path)


def _score(upload: Upload, model: Model, path: Path) -> None:
    draft = path.with_suffix(".draft")
    with (
        pq.ParquetFile(upload.folder / FLOWS) as flows,
        pq.ParquetFile(upload.folder / ROWS) as rows,
        pq.ParquetWriter(draft, _SAID) as writer,
    ):
        for group in range(flows.num_row_groups):
            result = model.scorer.score(FlowTable(flows.read_row_group(group), model.schema.id), path="upload")
            said = [result.column(name) for name in ("verdict", "score", "family")]
            numbers = rows.read_row_group(group, columns=["row"]).column("row")
            writer.write_table(pa.table([numbers, *said], names=_SAID.names).cast(_SAID))
    draft.replace(path)
