"""The one scoring function: web, JSON, batch, stream, Spark and BentoML all call `Scorer.score`."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from netwarden import telemetry
from netwarden.detectors.bundle import DetectorBundle
from netwarden.errors import SchemaError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.table import FlowTable

RESULT = pa.schema(
    [("score", pa.float64()), ("verdict", pa.string()), ("family", pa.string()), ("threshold", pa.float64())]
)
_BENIGN, _KNOWN, _NOVEL = range(len(VERDICTS))


class Scorer:
    """Scores flow tables with one bundle. Safe to call from several threads; the answer depends on the row alone."""

    def __init__(self, bundle: DetectorBundle, threads: int = 0, chunk_rows: int = 8192) -> None:
        self.bundle = bundle
        self._threads = threads or len(os.sched_getaffinity(0))
        self._chunk_rows = chunk_rows
        self._verdicts = pa.array(VERDICTS, pa.string())
        self._families = pa.array(bundle.detector.families, pa.string())

    def score(self, table: FlowTable, *, path: str = "python", unknown: Counter[str] | None = None) -> Any:
        """Arrow table with the same rows in the same order: score, verdict, family (null unless known), threshold.

        `path` names the way in, for the metrics; `unknown` collects values outside the vocabularies, per column.
        Raises SchemaError for a table of another schema or meter mode, or where feature columns are missing.
        """
        self._check(table)
        started = time.perf_counter()
        features = table.arrow.select([name for name in table.arrow.column_names if name in self._names])
        chunks = [features.slice(at, self._chunk_rows) for at in range(0, max(1, len(table)), self._chunk_rows)]
        done = [self._chunk(chunks[0])] if len(chunks) == 1 else list(self._pool.map(self._chunk, chunks))
        outside = sum((each for _, each in done), Counter[str]())
        result = pa.Table.from_batches([batch for batch, _ in done], RESULT)
        _count(path, result, outside, time.perf_counter() - started)
        if unknown is not None:
            unknown.update(outside)
        return result

    def close(self) -> None:
        """Stop the threads; they also end with the process."""
        if "_pool" in self.__dict__:
            self._pool.shutdown()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "netwarden-score")

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self.bundle.preprocessor.names)

    def _check(self, table: FlowTable) -> None:
        manifest = self.bundle.manifest
        if table.schema_id != manifest.schema_id:
            raise SchemaError(
                f"a table of schema {table.schema_id} was given to bundle {self.bundle.bundle_id}, which scores "
                f"{manifest.schema_id}; choose a bundle of that schema"
            )
        if table.meter is not None and table.meter.mode != manifest.meter_mode:
            raise SchemaError(
                f"flows metered in mode {table.meter.mode!r} were given to bundle {self.bundle.bundle_id}, trained on "
                f"mode {manifest.meter_mode!r}: the same packets give other features there"
            )

    def _chunk(self, features: Any) -> tuple[Any, Counter[str]]:
        unknown: Counter[str] = Counter()
        bundle = self.bundle
        matrix = bundle.preprocessor.transform(features, unknown)
        scores = bundle.calibration.apply(bundle.detector.score(matrix))
        alerts = np.flatnonzero(scores >= bundle.threshold)
        verdicts = np.full(len(scores), _BENIGN, np.int8)
        families = np.full(len(scores), -1, np.int64)
        if len(alerts):
            suspects = matrix[alerts]
            known = bundle.detector.known(suspects)
            verdicts[alerts] = np.where(known, _KNOWN, _NOVEL)
            if bundle.detector.families:
                families[alerts[known]] = bundle.detector.family_codes(suspects[known])
        columns = [
            pa.array(scores),
            self._verdicts.take(pa.array(verdicts)),
            self._families.take(pa.array(families, mask=families < 0)),
            pa.array(np.full(len(scores), bundle.threshold)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=RESULT), unknown


def _count(path: str, result: Any, outside: Counter[str], seconds: float) -> None:
    for item in result.column("verdict").value_counts().to_pylist():
        telemetry.FLOWS_SCORED.labels(path, item["values"]).inc(item["counts"])
    for column, values in outside.items():
        telemetry.UNKNOWN_CATEGORIES.labels(column).inc(values)
    telemetry.SCORE_SECONDS.labels(path).observe(seconds)
