"""Flow tables from files into the store: checked, counted, idempotent.

A row's id is a hash of its content, so loading again adds nothing, and a run that was killed goes on by being started
again: what is in the store is recognised at reading speed. There is no checkpoint that could be wrong.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from netwarden.errors import InputError, NotFoundError, QuarantineError, StoreError
from netwarden.flows.labels import Families, load_families
from netwarden.flows.schema import LABEL, ROW_ID, SOURCE_FILE, SOURCE_LINE, SPLIT
from netwarden.settings import Settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.etl_plan import Plan, PlannedFile, make_plan
from netwarden.sources.files import BATCH_ROWS, FileBatch, read_batches, read_label_file
from netwarden.sources.manifest import Manifest, manifest_of, read_manifest, write_manifest
from netwarden.sources.row_ids import SeenRows, row_ids
from netwarden.sources.store import DatasetSummary, FlowStore

__all__ = ["EtlReport", "EtlStep", "Manifest", "read_manifest", "run_etl", "write_manifest"]

_REASONS_SHOWN = 8


@dataclass(frozen=True)
class EtlStep:
    """How far a run is. The first step of a run tells where the rows go, before any is read."""

    store: str
    file: str
    fraction: float
    rows: int


@dataclass
class EtlReport:
    """What a run did, fit to print. `known` rows were in the store before; `duplicates` came twice in this run."""

    dataset: str
    schema_id: str
    store: str
    files: list[str] = field(default_factory=list)
    not_loaded: list[str] = field(default_factory=list)
    read: int = 0
    inserted: int = 0
    known: int = 0
    duplicates: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    stored: DatasetSummary | None = None
    manifest: Path | None = None

    def __str__(self) -> str:
        return "\n".join(f"{name:<15}{text}" for name, text in self._lines() if text)

    def _lines(self) -> list[tuple[str, str]]:
        held = self.stored.rows if self.stored else {}
        return [
            ("dataset", f"{self.dataset} (schema {self.schema_id})"),
            ("files", ", ".join(self.files)),
            ("not loaded", "; ".join(self.not_loaded)),
            ("rows read", f"{self.read:,}"),
            ("rows in", f"{self.inserted:,}"),
            ("already known", f"{self.known:,}"),
            ("duplicates", f"{self.duplicates:,}"),
            ("rejected", f"{self.rejected.total():,}{_listed(self.rejected)}"),
            ("values changed", f"{self.changed.total():,}{_listed(self.changed)}"),
            ("speed", f"{self.read / max(self.seconds, 1e-9):,.0f} rows/s ({self.seconds:.1f} s)"),
            ("store holds", f"{sum(held.values()):,}{_listed(Counter(held)) if list(held) != [''] else ''}"),
            ("manifest", str(self.manifest or "")),
        ]


Progress = Callable[[EtlStep], None]


def run_etl(
    settings: Settings,
    paths: Sequence[Path],
    *,
    dataset: str = "",
    schema: str = "",
    labels: Path | None = None,
    progress: Progress | None = None,
) -> EtlReport:
    """Load files into the store and write the dataset's manifest; returns what was done.

    Bad rows go to the quarantine; where a file has more than `etl.max_bad_share` of them the run stops with
    QuarantineError, and what was stored before stays. Memory is bounded but for 8 bytes a row, which tell duplicates
    from rows that were known before.
    """
    plan = make_plan(settings, paths, dataset=dataset, schema=schema)
    families = load_families(settings.schema_dir / "families.yaml")
    truth = _truth(plan, labels)
    store = open_flow_store(settings)
    try:
        _require_same_schema(store, plan)
        load = _Load(settings, plan, store, families, progress or (lambda _: None))
        return load.run(truth)
    finally:
        store.close()


def _truth(plan: Plan, labels: Path | None) -> Any:
    if labels is None:
        return None
    if len(plan.files) != 1:
        raise InputError(f"--labels goes with one file of flows, not with {len(plan.files)}: rows are matched in order")
    column = plan.schema.label_column
    return read_label_file(labels, [alias.name for alias in column.aliases] + [column.name] if column else [])


def _require_same_schema(store: FlowStore, plan: Plan) -> None:
    try:
        held = store.summary(plan.dataset)
    except NotFoundError:
        return
    if held.schema_id != plan.schema.id and any(held.rows.values()):
        raise StoreError(
            f"dataset {plan.dataset} holds rows of schema {held.schema_id}, these files are of {plan.schema.id}; "
            "give them another name with --dataset"
        )


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(_REASONS_SHOWN))
    more = len(counts) - _REASONS_SHOWN
    return f" ({shown}{f', and {more} more' if more > 0 else ''})" if shown else ""


class _Load:
    """One run: files to store, with its counts. Lives as long as the run."""

    def __init__(
        self, settings: Settings, plan: Plan, store: FlowStore, families: Families, progress: Progress
    ) -> None:
        self._settings, self._plan, self._store = settings, plan, store
        self._families, self._progress = families, progress
        self._seen = SeenRows()
        self._report = EtlReport(plan.dataset, plan.schema.id, store.address, not_loaded=list(plan.not_loaded))

    def run(self, truth: Any) -> EtlReport:
        began = time.perf_counter()
        self._progress(EtlStep(self._store.address, "", 0.0, 0))
        sizes = [max(file.path.stat().st_size, 1) for file in self._plan.files]
        for index, file in enumerate(self._plan.files):
            self._load_file(file, truth, sum(sizes[:index]) / sum(sizes), sizes[index] / sum(sizes))
        report = self._report
        report.stored = self._store.summary(self._plan.dataset)
        manifest = manifest_of(report.stored, self._plan.schema.contract_hash())
        report.manifest = write_manifest(self._settings.manifests_dir, manifest)
        report.seconds = time.perf_counter() - began
        return report

    def _load_file(self, file: PlannedFile, truth: Any, before: float, share: float) -> None:
        report = self._report
        report.files.append(file.name)
        bad = _BadRows(file.name, self._settings.etl.max_bad_share)
        batches = read_batches(
            file.path,
            self._plan.schema,
            self._families,
            labelled=True,
            batch_rows=max(BATCH_ROWS, self._settings.etl.batch_rows),
            labels=truth,
            name=file.name,
        )
        for batch in batches:
            self._store_batch(file, batch)
            bad.add(batch)
            bad.stop_where_hopeless(batch.position, report.inserted)
            self._progress(EtlStep(report.store, file.name, before + share * batch.position, report.read))
        bad.stop_where_hopeless(1.0, report.inserted)

    def _store_batch(self, file: PlannedFile, batch: FileBatch) -> None:
        report = self._report
        report.read += len(batch.table) + len(batch.rejected)
        report.changed.update(batch.changed)
        if batch.rejected:
            report.rejected.update(row.reason for row in batch.rejected)
            self._store.quarantine(self._plan.dataset, batch.rejected)
        rows = self._stamped(file, batch)
        fresh = self._seen.first_time(rows.column(ROW_ID).combine_chunks())
        if not fresh.all():
            report.duplicates += int((~fresh).sum())
            rows = rows.filter(pa.array(fresh))
        for start in range(0, len(rows), self._settings.etl.batch_rows):
            inserted = self._store.insert(
                self._plan.dataset, self._plan.schema.id, rows.slice(start, self._settings.etl.batch_rows)
            )
            report.inserted += inserted.inserted
            report.known += inserted.known

    def _stamped(self, file: PlannedFile, batch: FileBatch) -> Any:
        """The batch with the reserved columns. Family is left out of the id: it is our reading of the label."""
        arrow = batch.table.arrow
        content = arrow.select([*(column.name for column in self._plan.schema.stored), LABEL])
        places = None
        if self._plan.schema.duplicates == "keep":
            places = [f"{file.name}:{line}".encode() for line in batch.lines]
        ids = row_ids(content, self._plan.dataset, file.split, places)
        return (
            arrow.append_column(SPLIT, pa.repeat(pa.scalar(file.split, pa.string()), len(arrow)))
            .append_column(SOURCE_FILE, pa.repeat(pa.scalar(file.name, pa.string()), len(arrow)))
            .append_column(SOURCE_LINE, pa.array(batch.lines))
            .append_column(ROW_ID, ids)
        )


class _BadRows:
    """Bad rows of one file, against the share of them that is let pass."""

    def __init__(self, file: str, limit: float) -> None:
        self._file, self._limit = file, limit
        self._rows = 0
        self._reasons: Counter[str] = Counter()

    def add(self, batch: FileBatch) -> None:
        self._rows += len(batch.table) + len(batch.rejected)
        self._reasons.update(row.reason for row in batch.rejected)

    def stop_where_hopeless(self, position: float, stored: int) -> None:
        """Raise QuarantineError once even a faultless rest of the file could not bring the share under the limit."""
        bad = self._reasons.total()
        if not position or bad <= self._limit * self._rows / position:
            return
        raise QuarantineError(
            f"{self._file}: {bad:,} of {self._rows:,} rows read are bad, where {self._limit:.1%} of a file may be"
            f"{_listed(self._reasons)}. They are in the quarantine; the {stored:,} rows stored so far stay. "
            "Is the file in another schema, or damaged? The limit is etl.max_bad_share in config/netwarden.yaml"
        )
