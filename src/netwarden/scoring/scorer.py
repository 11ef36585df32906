"""The one scoring function: web, JSON, batch, stream, Spark and BentoML all call `Scorer.score`."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden import telemetry
from netwarden.detectors.bundle import DetectorBundle
from netwarden.detectors.verdicts import BENIGN_CODE, NO_FAMILY, judge_alerts
from netwarden.flows.alert import VERDICTS
from netwarden.flows.table import FlowTable

RESULT = pa.schema(
    [("score", pa.float64()), ("verdict", pa.string()), ("family", pa.string()), ("threshold", pa.float64())]
)
DEFAULT_CHUNK_ROWS = 16_384  # each prediction costs 0.25 ms before its first row: small chunks pay it often


class _Chunk(NamedTuple):
    batch: Any
    verdicts: npt.NDArray[np.int64]  # rows per verdict
    unknown: Counter[str]


class Scorer:
    """Scores flow tables with one bundle. Safe to call from several threads; the answer depends on the row alone."""

    def __init__(self, bundle: DetectorBundle, threads: int = 0, chunk_rows: int = DEFAULT_CHUNK_ROWS) -> None:
        self.bundle = bundle
        self._threads = threads or len(os.sched_getaffinity(0))
        self._chunk_rows = chunk_rows
        self._verdicts = pa.array(VERDICTS, pa.string())
        self._families = pa.array(bundle.detector.families, pa.string())

    def score(self, table: FlowTable, *, path: str = "python", unknown: Counter[str] | None = None) -> Any:
        """Arrow table with the same rows in the same order: score, verdict, family (null unless known), threshold.

        `path` names the way in, for the metrics; `unknown` collects values outside the vocabularies, per column.
        Raises SchemaError for a table of another schema, meter mode or version, or where feature columns are missing.
        """
        self.bundle.require_fit(table)
        started = time.perf_counter()
        chunks = [table.arrow.slice(start, stop - start) for start, stop in self._bounds(len(table))]
        scored = [self._chunk(chunks[0])] if len(chunks) == 1 else list(self._pool.map(self._chunk, chunks))
        outside = sum((chunk.unknown for chunk in scored), Counter[str]())
        _count(path, sum(chunk.verdicts for chunk in scored), outside, time.perf_counter() - started)
        if unknown is not None:
            unknown.update(outside)
        return pa.Table.from_batches([chunk.batch for chunk in scored], RESULT)

    def close(self) -> None:
        """Stop the threads; they also end with the process."""
        if "_pool" in self.__dict__:
            self._pool.shutdown()

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, "netwarden-score")

    def _bounds(self, rows: int) -> Iterator[tuple[int, int]]:
        """Start and end of each chunk: as many for each thread, all of about the same size."""
        chunks = -(-rows // self._chunk_rows) or 1
        if chunks > 1:
            chunks = -(-chunks // self._threads) * self._threads
        edges = [rows * place // chunks for place in range(chunks + 1)]
        return itertools.pairwise(edges)

    def _chunk(self, flows: Any) -> _Chunk:
        unknown: Counter[str] = Counter()
        bundle = self.bundle
        matrix = bundle.preprocessor.transform(flows, unknown)
        scores = bundle.calibration.apply(bundle.detector.score(matrix))
        alerts = np.flatnonzero(scores >= bundle.threshold)
        verdicts = np.full(len(scores), BENIGN_CODE, np.int8)
        families = np.full(len(scores), NO_FAMILY, np.int64)
        verdicts[alerts], families[alerts] = judge_alerts(bundle.detector, matrix[alerts])
        columns = [
            pa.array(scores),
            self._verdicts.take(pa.array(verdicts)),
            self._families.take(pa.array(families, mask=families == NO_FAMILY)),
            pa.array(np.full(len(scores), bundle.threshold)),
        ]
        counts = np.bincount(verdicts, minlength=len(VERDICTS))
        return _Chunk(pa.RecordBatch.from_arrays(columns, schema=RESULT), counts, unknown)


def _count(path: str, verdicts: Any, outside: Counter[str], seconds: float) -> None:
    for verdict, rows in zip(VERDICTS, verdicts, strict=True):
        telemetry.FLOWS_SCORED.labels(path, verdict).inc(int(rows))
    for column, values in outside.items():
        telemetry.UNKNOWN_CATEGORIES.labels(column).inc(values)
    telemetry.SCORE_SECONDS.labels(path).observe(seconds)
