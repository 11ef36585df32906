"""Scored files: kept as Parquet under home/uploads/ID, with the features of their alerts, read back page by page."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import NotFoundError
from netwarden.flows.table import FlowTable
from netwarden.settings import Settings

ROWS, ALERTS, REJECTED, SUMMARY = "rows.parquet", "alerts.parquet", "rejected.json", "summary.json"
FEATURES = "features.parquet"  # of the alerts, row by row and group by group as in ALERTS: what explains them
FLOWS = "flows.parquet"  # all features of all rows, as in ROWS: what another bundle scores; the first to go for room
TRUTH = "truth.parquet"  # label and family of each row, as in ROWS, where the file or the demo says them
TRUTH_SCHEMA = pa.schema([("row", pa.int64()), ("label", pa.string()), ("family", pa.string())])
SCORE_BINS = 20


class UploadSummary(BaseModel):
    """What came of one upload."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    size_bytes: int
    schema_id: str
    bundle_id: str
    threshold: float
    rows: int
    rejected: int
    verdicts: dict[str, int]
    families: dict[str, int]
    unknown: dict[str, int]
    notes: tuple[str, ...] = ()
    seconds: float
    created_at: datetime
    scores: dict[str, list[int]] = Field({}, description="Verdict → rows in each twentieth of the score")
    labelled: int = Field(0, description="Rows of which the truth is known")

    @property
    def alerts(self) -> int:
        return self.rows - self.verdicts["benign"]


@dataclass(frozen=True)
class UploadedRow:
    """A row of a scored file: what was said of it, its features, and of an alert, those before and after it."""

    said: dict[str, Any]
    flow: FlowTable
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class Upload:
    """A scored file."""

    folder: Path

    @cached_property
    def summary(self) -> UploadSummary:
        return UploadSummary.model_validate_json((self.folder / SUMMARY).read_bytes())

    @cached_property
    def rejected(self) -> list[dict[str, Any]]:
        """The first rows that were no flows: row, line (0: none), reason."""
        found: list[dict[str, Any]] = json.loads((self.folder / REJECTED).read_bytes())
        return found

    @property
    def has_truth(self) -> bool:
        return (self.folder / TRUTH).exists()

    @property
    def has_flows(self) -> bool:
        """Whether another bundle can still score it."""
        return (self.folder / FLOWS).exists()

    def columns(self) -> list[str]:
        return list(pq.read_schema(self.folder / ROWS).names)

    def labels(self) -> dict[int, str]:
        """Row → label, where the truth is known."""
        if not self.has_truth:
            return {}
        table = pq.read_table(self.folder / TRUTH, columns=["row", "label"])
        pairs = zip(table.column("row").to_pylist(), table.column("label").to_pylist(), strict=True)
        return {row: label for row, label in pairs if label}

    def page(self, start: int, rows: int, *, alerts_only: bool = False) -> list[dict[str, Any]]:
        """Scored rows start … start + rows, of all or of the alerts; reads only the row groups they lie in."""
        with pq.ParquetFile(self.folder / (ALERTS if alerts_only else ROWS)) as file:
            groups, offset = _groups_of(file, start, rows)
            found: list[dict[str, Any]] = file.read_row_groups(groups).slice(offset, rows).to_pylist()
        return found

    def row(self, row: int) -> UploadedRow:
        """A scored input row. Raises NotFoundError where there is none, or where its features are not kept."""
        with pq.ParquetFile(self.folder / ALERTS) as file:
            place = _place_of(file, row)
        return self._quiet(row) if place is None else self._alert(place)

    def _quiet(self, row: int) -> UploadedRow:
        name = self.summary.name
        with pq.ParquetFile(self.folder / ROWS) as file:
            place = _place_of(file, row)
        if place is None:
            raise NotFoundError(f"row {row} of {name} has no score: rows count from 0, and a rejected one has none")
        if not self.has_flows:
            raise NotFoundError(
                f"row {row} of {name} is no alert, and the features of such rows are not kept any more "
                "(portal.keep_flows_mb); send the file again"
            )
        return UploadedRow(self.page(place, 1)[0], self._flow(FLOWS, place))

    def _flow(self, name: str, place: int) -> FlowTable:
        with pq.ParquetFile(self.folder / name) as file:
            groups, offset = _groups_of(file, place, 1)
            return FlowTable(file.read_row_groups(groups).slice(offset, 1), self.summary.schema_id)

    def _alert(self, place: int) -> UploadedRow:
        self._require_features()
        here = min(place, 1)  # among this alert and its neighbours
        near = self.page(place - here, here + 2, alerts_only=True)
        rows = [None, *(said["row"] for said in near), None]
        return UploadedRow(near[here], self._flow(FEATURES, place), rows[here], rows[here + 2])

    def explained_alerts(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """What was said of each alert, and its features. Raises NotFoundError where no features were kept."""
        self._require_features()
        with pq.ParquetFile(self.folder / ALERTS) as alerts, pq.ParquetFile(self.folder / FEATURES) as features:
            for group in range(alerts.num_row_groups):
                rows = alerts.read_row_group(group).to_pylist(), features.read_row_group(group).to_pylist()
                yield from zip(*rows, strict=True)

    def _require_features(self) -> None:
        if not (self.folder / FEATURES).exists():
            raise NotFoundError(
                f"{self.summary.name} was scored by a version that kept no features of alerts; send it again"
            )

    def tables(self) -> Iterator[Any]:
        """All scored rows, a row group at a time."""
        with pq.ParquetFile(self.folder / ROWS) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)

    def csv(self) -> Iterator[bytes]:
        """All scored rows as CSV."""
        for number, table in enumerate(self.tables()):
            text = io.BytesIO()
            pacsv.write_csv(table, text, pacsv.WriteOptions(include_header=number == 0))
            yield text.getvalue()

    def json(self) -> Iterator[bytes]:
        """Summary, scored rows and rejected rows as one JSON object."""
        return answer_json(self.summary.model_dump(mode="json"), self.tables(), self.rejected)


def answer_json(facts: dict[str, Any], tables: Iterator[Any], rejected: list[dict[str, Any]]) -> Iterator[bytes]:
    """The JSON answer of a prediction, written while its rows are read."""
    yield json.dumps(facts)[:-1].encode() + b', "predictions": ['
    first = True
    for table in tables:
        text = ",\n".join(json.dumps(row, default=lambda at: at.isoformat()) for row in table.to_pylist())
        if text:
            yield (text if first else ",\n" + text).encode()
            first = False
    yield b'], "rejections": ' + json.dumps(rejected).encode() + b"}\n"


def find_upload(settings: Settings, upload_id: str) -> Upload:
    """Upload by id. Raises NotFoundError."""
    folder = uploads_folder(settings) / upload_id
    if not re.fullmatch(r"[\w-]+", upload_id) or not (folder / SUMMARY).exists():
        raise NotFoundError(f"no upload {upload_id!r}; the last {settings.portal.keep_uploads} are kept")
    return Upload(folder)


def recent_uploads(settings: Settings, limit: int, before: str = "") -> list[UploadSummary]:
    """What came of the last uploads, newest first; with `before`, an id, of those older than it."""
    found = sorted((path.parent for path in uploads_folder(settings).glob(f"*/{SUMMARY}")), reverse=True)
    older = [folder for folder in found if not before or folder.name < before]
    return [Upload(folder).summary for folder in older[:limit]]


def uploads_folder(settings: Settings) -> Path:
    """Where scored files are kept."""
    return settings.home / "uploads"


def _groups_of(file: Any, start: int, rows: int) -> tuple[list[int], int]:
    """Row groups that hold rows start … start + rows, and where the first of these lies in them."""
    groups: list[int] = []
    offset = at = 0
    for group in range(file.num_row_groups):
        length = file.metadata.row_group(group).num_rows
        if at < start + rows and at + length > start:
            offset = start - at if not groups else offset
            groups.append(group)
        at += length
    return groups, offset


def _place_of(file: Any, row: int) -> int | None:
    """Where an input row stands in a file of rows in input order, None where it does not."""
    at = 0
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        spread = facts.column(0).statistics
        if spread.min <= row <= spread.max:
            rows = file.read_row_group(group, columns=["row"]).column("row").to_numpy()
            found = int(np.searchsorted(rows, row))
            return at + found if rows[found] == row else None
        at += facts.num_rows
    return None
