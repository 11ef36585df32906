"""Files scored into the folder of an upload: their rows, the alerts among them, and what explains these."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netwarden.capture.opening import CAPTURE_ENDINGS
from netwarden.errors import InputError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.labels import Families, load_families
from netwarden.flows.schema import FAMILY, LABEL, FlowSchema
from netwarden.flows.table import arrow_type
from netwarden.portal.uploads.progress import Scoring
from netwarden.portal.uploads.rows import row_table
from netwarden.portal.uploads.uploads import (
    ALERTS,
    FEATURES,
    FLOWS,
    REJECTED,
    ROWS,
    SCORE_BINS,
    SUMMARY,
    TRUTH,
    TRUTH_SCHEMA,
    Upload,
    UploadSummary,
    uploads_folder,
)
from netwarden.scoring.intake import FlowBatch, RejectedInput, read_flows
from netwarden.scoring.model import Model
from netwarden.scoring.output import prediction
from netwarden.settings import Settings

KINDS = (".npy", ".csv", ".csv.gz", ".parquet", ".pcap", ".pcapng")  # what pages and messages name
_LOGS = (".log", ".json", ".jsonl", ".labeled")  # of Zeek and Suricata
_READ_TOO = (".txt", ".txt.gz", ".arrow", *_LOGS, *(f"{ending}.gz" for ending in _LOGS), *CAPTURE_ENDINGS)
SHOWN_REJECTIONS = 1000

_INCOMING = ".incoming-"
_BEGUN_KEPT_S = 24 * 3600
_ENDPOINTS = ("started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol")


@contextmanager
def incoming(settings: Settings) -> Iterator[Path]:
    """Where to receive a file, on the disk that keeps uploads; nothing is left there afterwards."""
    path = uploads_folder(settings) / f"{_INCOMING}{secrets.token_hex(8)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def score_upload(settings: Settings, model: Model, received: Path, name: str, scoring: Scoring | None = None) -> Upload:
    """The scored content of a file that was sent under a name; the upload takes the received file over.

    `scoring` is told how far it is, and may end it.
    Raises InputError or SchemaError, in one sentence, where it cannot be read as flows of the model's schema.
    """
    started = time.perf_counter()
    created_at = datetime.now(UTC)
    folder = uploads_folder(settings) / f"{created_at:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    with ExitStack() as failing:
        failing.callback(shutil.rmtree, folder, ignore_errors=True)
        path = folder / "source" / _file_name(name)
        path.parent.mkdir()
        received.rename(path)
        size_bytes = path.stat().st_size
        if size_bytes == 0:
            raise InputError(f"{path.name} is empty")
        counts = _score(model, path, folder, scoring or Scoring(), _families(settings))
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
            scores={verdict: bins.tolist() for verdict, bins in counts.scores.items()},
            labelled=counts.labelled,
        )
        shutil.rmtree(path.parent)
        row_table(folder)  # made while somebody waits anyhow
        (folder / SUMMARY).write_text(summary.model_dump_json(), encoding="utf-8")  # last: it makes the upload exist
        failing.pop_all()  # nothing failed: the folder stays
    _prune(settings)
    return Upload(folder)


@dataclass
class _Counts:
    verdicts: Counter[str]
    families: Counter[str]
    unknown: Counter[str]
    scores: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    rejected: int = 0
    labelled: int = 0
    notes: tuple[str, ...] = ()


def _score(model: Model, path: Path, folder: Path, scoring: Scoring, families: Families | None) -> _Counts:
    """Score a file into the Parquet files of an upload."""
    counts = _Counts(Counter(), Counter(), Counter())
    shown: list[dict[str, Any]] = []
    with ExitStack() as files:
        rows = files.enter_context(pq.ParquetWriter(folder / ROWS, result_schema(model.schema)))
        alerts = files.enter_context(pq.ParquetWriter(folder / ALERTS, result_schema(model.schema)))
        kept = _features(model)
        features = files.enter_context(pq.ParquetWriter(folder / FEATURES, kept, compression="zstd"))
        flows = files.enter_context(pq.ParquetWriter(folder / FLOWS, _flows(model.schema), compression="zstd"))
        truth: Any = None
        for batch in _readable(path, model, families):
            scoring.proceed(batch.position, sum(counts.verdicts.values()))
            table = score_batch(model, batch, counts.unknown)
            rows.write_table(table)
            flows.write_table(batch.table.arrow.select(flows.schema.names).cast(flows.schema))
            if LABEL in batch.table.names:
                truth = truth or files.enter_context(pq.ParquetWriter(folder / TRUTH, TRUTH_SCHEMA))
                truth.write_table(_truth(table.column("row"), batch))
                counts.labelled += len(table) - batch.table.arrow.column(LABEL).null_count
            _bin(counts.scores, table)
            alert = pc.not_equal(table.column("verdict"), "benign")
            if pc.any(alert).as_py():
                alerts.write_table(table.filter(alert))
                features.write_table(batch.table.arrow.select(kept.names).filter(alert).cast(kept))
            _count(counts.verdicts, table.column("verdict"))
            _count(counts.families, table.column("family").drop_null())
            counts.rejected += len(batch.rejected)
            counts.notes += batch.notes
            shown += rejections(batch.rejected)[: SHOWN_REJECTIONS - len(shown)]
    (folder / REJECTED).write_text(json.dumps(shown), encoding="utf-8")
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


def _flows(schema: FlowSchema) -> Any:
    """Columns that any bundle of a schema may read."""
    return pa.schema([(column.name, arrow_type(column)) for column in schema.features])


def _families(settings: Settings) -> Families | None:
    """Families of attack names; without their table, labels of a file stay unread."""
    path = settings.schema_dir / "families.yaml"
    return load_families(path) if path.exists() else None


def _truth(rows: Any, batch: FlowBatch) -> Any:
    told = batch.table.arrow
    return pa.table({"row": rows, "label": told.column(LABEL), "family": told.column(FAMILY)}).cast(TRUTH_SCHEMA)


def _bin(scores: dict[str, npt.NDArray[np.int64]], table: Any) -> None:
    """Add the scores of a table to the counts by verdict."""
    bins = np.minimum((table.column("score").to_numpy() * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    for verdict in VERDICTS:
        rows = pc.equal(table.column("verdict"), verdict).to_numpy(zero_copy_only=False).astype(bool)
        scores[verdict] = scores.get(verdict, 0) + np.bincount(bins[rows], minlength=SCORE_BINS)


def _readable(path: Path, model: Model, families: Families | None) -> Iterator[FlowBatch]:
    """Batches of a file; what Arrow says of a broken one becomes one sentence."""
    try:
        yield from read_flows(path, model.schema, model.vocabulary, published=model.published, truth=families)
    except (pa.ArrowInvalid, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from None


def _file_name(name: str) -> str:
    """The sender's file name without folders and odd characters, of a kind that we read. Raises InputError."""
    plain = re.sub(r"[^\w.+-]+", "_", Path(name.replace("\\", "/")).name).lstrip(".")[-100:]
    if not plain.lower().endswith(KINDS + _READ_TOO):
        raise InputError(f"{plain or 'the file'} is of no kind that is read here; send {', '.join(KINDS)}")
    return plain


def _count(counter: Counter[str], column: Any) -> None:
    for item in column.value_counts().to_pylist():
        counter[item["values"]] += item["counts"]


def _prune(settings: Settings) -> None:
    """Remove all but the newest uploads, and what a portal that was killed had begun."""
    for path in uploads_folder(settings).iterdir():
        if (path.name.startswith(_INCOMING) or not (path / SUMMARY).exists()) and _age_s(path) > _BEGUN_KEPT_S:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    kept = sorted(uploads_folder(settings).glob(f"*/{SUMMARY}"), reverse=True)
    for path in kept[settings.portal.keep_uploads :]:
        shutil.rmtree(path.parent, ignore_errors=True)
    room = settings.portal.keep_flows_mb * 1_000_000
    for path in kept[: settings.portal.keep_uploads]:
        flows = path.parent / FLOWS
        room -= flows.stat().st_size if flows.exists() else 0
        if room < 0:
            flows.unlink(missing_ok=True)  # verdicts stay; another bundle cannot score it any more


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # finished in the meantime
        return 0.0
