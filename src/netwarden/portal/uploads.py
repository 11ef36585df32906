"""Scored files: kept as Parquet under home/uploads/ID, with the features of their alerts, read back page by page."""

from __future__ import annotations

import io
import json
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from netwarden.capture.opening import CAPTURE_ENDINGS
from netwarden.errors import InputError, NotFoundError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.scoring.batch import prediction
from netwarden.scoring.intake import FlowBatch, RejectedInput, read_flows
from netwarden.scoring.model import Model
from netwarden.settings import Settings

KINDS = (".npy", ".csv", ".csv.gz", ".parquet", ".pcap", ".pcapng")  # what pages and messages name
_LOGS = (".log", ".json", ".jsonl", ".labeled")  # of Zeek and Suricata
_READ_TOO = (".txt", ".txt.gz", ".arrow", *_LOGS, *(f"{ending}.gz" for ending in _LOGS), *CAPTURE_ENDINGS)
SHOWN_REJECTIONS = 1000

_ROWS, _ALERTS, _REJECTED, _SUMMARY = "rows.parquet", "alerts.parquet", "rejected.json", "summary.json"
_FEATURES = "features.parquet"  # of the alerts, row by row and group by group as in _ALERTS: what explains them
_INCOMING = ".incoming-"
_BEGUN_KEPT_S = 24 * 3600
_ENDPOINTS = ("started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol")


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

    @property
    def alerts(self) -> int:
        return self.rows - self.verdicts["benign"]


@dataclass(frozen=True)
class UploadedAlert:
    """An alert of a scored file: what was said of it, its features, and the rows of the alerts before and after it."""

    said: dict[str, Any]
    flow: FlowTable
    before: int | None
    after: int | None


@dataclass(frozen=True)
class Upload:
    """A scored file."""

    folder: Path

    @cached_property
    def summary(self) -> UploadSummary:
        return UploadSummary.model_validate_json((self.folder / _SUMMARY).read_bytes())

    @cached_property
    def rejected(self) -> list[dict[str, Any]]:
        """The first rows that were no flows: row, line (0: none), reason."""
        found: list[dict[str, Any]] = json.loads((self.folder / _REJECTED).read_bytes())
        return found

    def columns(self) -> list[str]:
        return list(pq.read_schema(self.folder / _ROWS).names)

    def page(self, start: int, rows: int, *, alerts_only: bool = False) -> list[dict[str, Any]]:
        """Scored rows start … start + rows, of all or of the alerts; reads only the row groups they lie in."""
        with pq.ParquetFile(self.folder / (_ALERTS if alerts_only else _ROWS)) as file:
            groups, offset = _groups_of(file, start, rows)
            found: list[dict[str, Any]] = file.read_row_groups(groups).slice(offset, rows).to_pylist()
        return found

    def alert(self, row: int) -> UploadedAlert:
        """The alert of an input row. Raises NotFoundError where that row is none."""
        name = self.summary.name
        with pq.ParquetFile(self.folder / _ALERTS) as file:
            place = _place_of(file, row)
        if place is None:
            raise NotFoundError(f"row {row} of {name} is no alert; only alerts are explained")
        if not (self.folder / _FEATURES).exists():
            raise NotFoundError(f"{name} was scored by a version that kept no features of alerts; send it again")
        with pq.ParquetFile(self.folder / _FEATURES) as file:
            groups, offset = _groups_of(file, place, 1)
            features = file.read_row_groups(groups).slice(offset, 1)
        here = min(place, 1)  # among this alert and its neighbours
        near = self.page(place - here, here + 2, alerts_only=True)
        rows = [None, *(said["row"] for said in near), None]
        flow = FlowTable(features, self.summary.schema_id)
        return UploadedAlert(near[here], flow, rows[here], rows[here + 2])

    def tables(self) -> Iterator[Any]:
        """All scored rows, a row group at a time."""
        with pq.ParquetFile(self.folder / _ROWS) as file:
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


@contextmanager
def incoming(settings: Settings) -> Iterator[Path]:
    """Where to receive a file, on the disk that keeps uploads; nothing is left there afterwards."""
    path = _uploads(settings) / f"{_INCOMING}{secrets.token_hex(8)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def score_upload(settings: Settings, model: Model, received: Path, name: str) -> Upload:
    """The scored content of a file that was sent under a name; the upload takes the received file over.

    Raises InputError or SchemaError, in one sentence, where it cannot be read as flows of the model's schema.
    """
    started = time.perf_counter()
    created_at = datetime.now(UTC)
    folder = _uploads(settings) / f"{created_at:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        path = folder / "source" / _file_name(name)
        path.parent.mkdir()
        received.rename(path)
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise InputError(f"{path.name} is empty")
        counts = _score(model, path, folder)
        summary = UploadSummary(
            id=folder.name,
            name=path.name,
            size_bytes=size_bytes,
            schema_id=model.schema.id,
            bundle_id=model.bundle.bundle_id,
            threshold=model.bundle.threshold,
            rows=sum(counts.verdicts.values()),
            rejected=counts.rejected,
            verdicts={verdict: counts.verdicts[verdict] for verdict in VERDICTS},
            families=dict(counts.families.most_common()),
            unknown=dict(counts.unknown),
            notes=counts.notes,
            seconds=time.perf_counter() - started,
            created_at=created_at,
        )
        shutil.rmtree(path.parent)
        (folder / _SUMMARY).write_text(summary.model_dump_json(), encoding="utf-8")  # last: it makes the upload exist
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _prune(settings)
    return Upload(folder)


def find_upload(settings: Settings, upload_id: str) -> Upload:
    """Upload by id. Raises NotFoundError."""
    folder = _uploads(settings) / upload_id
    if not re.fullmatch(r"[\w-]+", upload_id) or not (folder / _SUMMARY).exists():
        raise NotFoundError(f"no upload {upload_id!r}; the last {settings.portal.keep_uploads} are kept")
    return Upload(folder)


def recent_uploads(settings: Settings, limit: int) -> list[UploadSummary]:
    """What came of the last uploads, newest first."""
    found = sorted(_uploads(settings).glob(f"*/{_SUMMARY}"), reverse=True)
    return [Upload(path.parent).summary for path in found[:limit]]


@dataclass
class _Counts:
    verdicts: Counter[str]
    families: Counter[str]
    unknown: Counter[str]
    rejected: int = 0
    notes: tuple[str, ...] = ()


def _score(model: Model, path: Path, folder: Path) -> _Counts:
    """Score a file into the Parquet files of an upload."""
    counts = _Counts(Counter(), Counter(), Counter())
    shown: list[dict[str, Any]] = []
    with ExitStack() as files:
        rows = files.enter_context(pq.ParquetWriter(folder / _ROWS, result_schema(model.schema)))
        alerts = files.enter_context(pq.ParquetWriter(folder / _ALERTS, result_schema(model.schema)))
        kept = _features(model)
        features = files.enter_context(pq.ParquetWriter(folder / _FEATURES, kept, compression="zstd"))
        for batch in _readable(path, model):
            table = score_batch(model, batch, counts.unknown)
            rows.write_table(table)
            alert = pc.not_equal(table.column("verdict"), "benign")
            if pc.any(alert).as_py():
                alerts.write_table(table.filter(alert))
                features.write_table(batch.table.arrow.select(kept.names).filter(alert).cast(kept))
            _count(counts.verdicts, table.column("verdict"))
            _count(counts.families, table.column("family").drop_null())
            counts.rejected += len(batch.rejected)
            counts.notes += batch.notes
            shown += rejections(batch.rejected)[: SHOWN_REJECTIONS - len(shown)]
    (folder / _REJECTED).write_text(json.dumps(shown), encoding="utf-8")
    if not counts.verdicts:
        first = shown[0]["reason"] if shown else "it is empty"
        raise InputError(f"none of the {counts.rejected:,} rows of {path.name} is a flow; the first: {first}")
    return counts


def score_batch(model: Model, batch: FlowBatch, unknown: Counter[str] | None = None, *, way: str = "upload") -> Any:
    """Arrow table of the flows of a batch: input row, verdict, 0 or −1, score, family and the endpoints if known."""
    result = model.scorer.score(batch.table, path=way, unknown=unknown)
    columns = {
        "row": pa.array(batch.rows),
        "verdict": result.column("verdict"),
        "prediction": prediction(result),
        "score": result.column("score"),
        "family": result.column("family"),
    }
    known = {name: batch.table.arrow.column(name) for name in batch.table.names if name in _ENDPOINTS}
    schema = result_schema(model.schema)
    missing = {name: pa.nulls(len(result), schema.field(name).type) for name in schema.names if name not in columns}
    return pa.table({**columns, **missing, **known}).select(schema.names).cast(schema)


def result_schema(schema: FlowSchema) -> Any:
    """Columns of a scored file of a schema."""
    fixed = [("row", pa.int64()), ("verdict", pa.string()), ("prediction", pa.int8())]
    fixed += [("score", pa.float64()), ("family", pa.string())]
    types = {"int": pa.int64(), "ip": pa.string(), "string": pa.string(), "time": pa.timestamp("us", tz="UTC")}
    known = {c.name: types.get(c.type, pa.float64()) for c in schema.stored if c.role in ("identifier", "time")}
    return pa.schema(fixed + [(name, known[name]) for name in _ENDPOINTS if name in known])


def _features(model: Model) -> Any:
    """Columns that explaining needs: those that the bundle reads."""
    used = frozenset(model.bundle.preprocessor.names)
    return pa.schema([(column.name, arrow_type(column)) for column in model.schema.features if column.name in used])


def rejections(rejected: list[RejectedInput]) -> list[dict[str, Any]]:
    """Rejected rows as answers show them."""
    return [{"row": item.row, "line": item.line or None, "reason": item.reason} for item in rejected]


def _readable(path: Path, model: Model) -> Iterator[FlowBatch]:
    """Batches of a file; what Arrow says of a broken one becomes one sentence."""
    try:
        yield from read_flows(path, model.schema, model.vocabulary, published=model.published)
    except (pa.ArrowInvalid, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from None


def _file_name(name: str) -> str:
    """The sender's file name without folders and odd characters, of a kind that we read. Raises InputError."""
    plain = re.sub(r"[^\w.+-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".")[-100:]
    if not plain.lower().endswith(KINDS + _READ_TOO):
        raise InputError(f"{plain or 'the file'} is of no kind that is read here; send {', '.join(KINDS)}")
    return plain


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


def _count(counter: Counter[str], column: Any) -> None:
    for item in column.value_counts().to_pylist():
        counter[item["values"]] += item["counts"]


def _uploads(settings: Settings) -> Path:
    return settings.home / "uploads"


def _prune(settings: Settings) -> None:
    """Remove all but the newest uploads, and what a portal that was killed had begun."""
    for path in _uploads(settings).iterdir():
        if (path.name.startswith(_INCOMING) or not (path / _SUMMARY).exists()) and _age_s(path) > _BEGUN_KEPT_S:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for path in sorted(_uploads(settings).glob(f"*/{_SUMMARY}"), reverse=True)[settings.portal.keep_uploads :]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # finished in the meantime
        return 0.0
