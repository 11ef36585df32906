"""How far flows have moved from those that a bundle was trained on: of the stream, or of a scored file."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NetwardenError, NotFoundError
from netwarden.evaluation.drift import SCORE, Against, Drift, measure_drift
from netwarden.flows.table import FlowTable
from netwarden.logs import get
from netwarden.portal.models.champions import Champions
from netwarden.portal.uploads.uploads import FLOWS, find_upload
from netwarden.scoring.model import Model
from netwarden.settings import Settings
from netwarden.sources.connect import open_feed
from netwarden.streaming.sampled import ENTRIES, SAMPLES, sampled

STREAM = "stream"
_MOST_ROWS = 20_000  # more of them tell hardly more, and take longer
_FRESH_S = 20.0  # how long a report of the stream counts
_SOON_S = 1.0  # and one that there was nothing
_PATIENCE_S = 0.2  # what a page waits for a report before it says that one is being made
_KEPT = 8
_AT_ONCE = 2  # reports in the making
_log = get(__name__)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Share(_Answer):
    """A range of values, or a category, and the share of flows in it."""

    name: str
    then: float = Field(description="In training")
    now: float


class FeatureDrift(_Answer):
    """How far one feature has moved."""

    name: str
    meaning: str
    unit: str
    psi: float = Field(description="Population stability index: 0.1 is some, 0.25 is much")
    chance: float = Field(description="Without drift, 99 of 100 samples of this size stay below it")
    verdict: str = Field(description="drifted, some drift, stable, too few flows to tell")
    most: str = Field(description="The range that changed most, with its shares")
    bins: list[Share]


class DriftReport(_Answer):
    """Drift of all features, the worst first, of the score, and of the share of flows that alert."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": "stream",
                "state": "ready",
                "detail": "",
                "at": "2026-11-21T10:15:00Z",
                "bundle_id": "65ed956f64122dc2",
                "schema_id": "netwarden_flow",
                "against": "benign",
                "flows": 8120,
                "moved": 3,
                "alert_share": 0.013,
                "budget": 0.01,
                "realised": 0.009,
                "score": None,
                "features": [],
            }
        }
    )
    source: str
    state: Literal["ready", "measuring", "nothing"] = Field(description="measuring: ask again; nothing: see `detail`")
    detail: str = ""
    at: datetime | None = None
    bundle_id: str = ""
    schema_id: str = ""
    against: Against = "all"
    flows: int = 0
    moved: int = Field(0, description="Features with some drift or more, beyond chance")
    alert_share: float | None = Field(None, description="Of these flows, those that alert")
    budget: float | None = Field(None, description="Share of benign flows that may alert")
    realised: float | None = Field(None, description="The share that did, of benign flows set aside in training")
    score: FeatureDrift | None = None
    features: list[FeatureDrift] = Field([])


@dataclass
class _Entry:
    report: DriftReport
    made_at_s: float
    making: Future[DriftReport] | None = None


class DriftReports:
    """Reports measured beside the requests that ask for them, and kept for a while. Safe to share between threads."""

    def __init__(self, settings: Settings, champions: Champions) -> None:
        self._settings = settings
        self._champions = champions
        self._samples = open_feed(settings, SAMPLES, ENTRIES)
        self._threads = ThreadPoolExecutor(_AT_ONCE, "netwarden-drift")
        self._lock = threading.RLock()  # a report that is made at once is kept by who asks
        self._known: dict[tuple[str, str, Against], _Entry] = {}

    def of(self, source: str, schema_id: str, against: Against) -> DriftReport:
        """The report on the stream or on an upload; the one before, or that it is being made, where that takes long.

        Raises NotFoundError for an upload that is not there.
        """
        if source != STREAM:
            find_upload(self._settings, source)
        key = (source, schema_id, against)
        with self._lock:
            entry = self._entry(key)
            making = entry.making
        if making is not None:
            wait([making], _PATIENCE_S)
        with self._lock:
            return entry.report

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._samples.close()

    def _entry(self, key: tuple[str, str, Against]) -> _Entry:
        entry = self._known.get(key)
        if entry is None:
            while len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            entry = self._known[key] = _Entry(_measuring(key), -_FRESH_S)
        if entry.making is None and _stale(entry):
            if entry.report.state != "ready":
                entry.report = _measuring(key)
            making = entry.making = self._threads.submit(self._measured, *key)
            making.add_done_callback(lambda made: self._keep(key, entry, made))
        return entry

    def _keep(self, key: tuple[str, str, Against], entry: _Entry, made: Future[DriftReport]) -> None:
        if made.cancelled():
            return
        error = made.exception()
        if error is None:
            report = made.result()
        else:
            source, _, against = key
            report = DriftReport(source=source, state="nothing", detail=str(error), against=against)
            if not isinstance(error, NetwardenError):
                _log.error("drift cannot be measured", extra={"source": source}, exc_info=error)
        with self._lock:
            entry.report, entry.made_at_s, entry.making = report, time.monotonic(), None

    def _measured(self, source: str, schema_id: str, against: Against) -> DriftReport:
        if source == STREAM:
            model, table = self._streamed(schema_id)
        else:
            upload = find_upload(self._settings, source)
            model = self._champions.model(upload.summary.bundle_id)
            table = _uploaded(upload.folder / FLOWS, model)
        return _report(source, model, table, against)

    def _streamed(self, schema_id: str) -> tuple[Model, FlowTable]:
        """Sampled flows of a schema, by default that of the latest ones, and the model in charge of them."""
        batches = sampled([body for _, body in self._samples.after("", ENTRIES, 0)])
        if not batches:
            raise InputError("no flow has come from a sensor yet; netwarden up --interface eth0 watches a network")
        schema_id = schema_id or batches[-1].flows.schema_id
        model = self._champions.choose(schema_id)
        tables = [each.flows.arrow for each in batches if each.flows.schema_id == schema_id]
        if not tables:
            raise InputError(f"no flow of schema {schema_id} has come from a sensor yet")
        return model, _readable(tables, model)


def _measuring(key: tuple[str, str, Against]) -> DriftReport:
    return DriftReport(source=key[0], state="measuring", schema_id=key[1], against=key[2])


def _stale(entry: _Entry) -> bool:
    """Whether a report is to be made anew: a file's never changes, and where there was nothing, there may be soon."""
    age_s = time.monotonic() - entry.made_at_s
    if entry.report.state == "ready":
        return entry.report.source == STREAM and age_s > _FRESH_S
    return age_s > _SOON_S


def _uploaded(path: Any, model: Model) -> FlowTable:
    """Flows of a scored file, of large ones row groups from all over it."""
    if not path.exists():
        raise NotFoundError("the features of this file were not kept, or have made room for newer ones; send it again")
    with pq.ParquetFile(path) as file:
        groups = np.unique(np.linspace(0, file.num_row_groups - 1, 8).astype(int)).tolist()
        return _readable([file.read_row_groups(groups)], model)


def _readable(tables: Sequence[Any], model: Model) -> FlowTable:
    """The features that a bundle reads, at most 20,000 rows at equal distances."""
    names = model.bundle.preprocessor.names
    table = pa.concat_tables([each.select(names).replace_schema_metadata() for each in tables])
    if table.num_rows > _MOST_ROWS:
        table = table.take(np.linspace(0, table.num_rows - 1, _MOST_ROWS).astype(np.int64))
    return FlowTable(table.combine_chunks(), model.schema.id)


def _report(source: str, model: Model, table: FlowTable, against: Against) -> DriftReport:
    columns = {column.name: column for column in model.schema.features}
    found = [_feature(each, columns) for each in measure_drift(model.bundle, table, against)]
    features = [each for each in found if each.name != SCORE]
    result = model.scorer.score(table)
    threshold = model.bundle.manifest.threshold
    return DriftReport(
        source=source,
        state="ready",
        at=datetime.now(UTC),
        bundle_id=model.bundle.bundle_id,
        schema_id=model.schema.id,
        against=against,
        flows=len(table),
        moved=sum(each.verdict in ("drifted", "some drift") for each in features),
        alert_share=float(np.mean(result.column("score").to_numpy() >= threshold.value)),
        budget=threshold.budget,
        realised=threshold.realised,
        score=next((each for each in found if each.name == SCORE), None),
        features=features,
    )


def _feature(drift: Drift, columns: dict[str, Any]) -> FeatureDrift:
    column = columns.get(drift.name)
    return FeatureDrift(
        name=drift.name,
        meaning=column.meaning if column else "What the detector says of the flow",
        unit=column.unit if column else "",
        psi=drift.psi,
        chance=drift.chance,
        verdict=drift.verdict,
        most=drift.most,
        bins=[Share(name=each.name, then=each.then, now=each.now) for each in drift.bins],
    )
