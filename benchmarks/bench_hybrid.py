"""What the default hybrid costs beside the bare models that it is made of: to fit, and to score.

    [NETWARDEN_DATA=...] python benchmarks/bench_hybrid.py [--rounds 5]

Rows are NSL-KDD's where NETWARDEN_DATA is set, made up otherwise. Bare is what one would write with libraries alone:
XGBoost on the same shares of the features, its head of families, scikit-learn's PCA of the benign rows; to score, the
trees' margins and PCA there and back, on columns that are scaled already. Both take turns; a ratio is the median over
the rounds. Seconds are of processor time, so that whoever else is at work here changes little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xgboost as xgb
from bench_scoring import ROOT, labelled_flows
from figures import record
from sklearn.decomposition import PCA

sys.path.insert(0, str(ROOT))
from netwarden.detector_params import HybridParams, XgbClassifierParams
from netwarden.detectors.base import FitRows, Matrix
from netwarden.detectors.blended_trees import deal
from netwarden.detectors.hybrid import Hybrid, HybridKind
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from tests.fixtures.bundles import train_bundle

PARAMS = HybridParams(family=XgbClassifierParams())
CHUNK_ROWS = 16_384
SCORED_ROWS = 250_000


def main() -> None:
    """Measure, print and append to results/hybrid.jsonl."""
    options = _options()
    schema = load_schema("nsl_kdd", ROOT / "schema")
    flows = labelled_flows(schema)
    preprocessor = fit_preprocessor(flows, schema)
    families = np.asarray(flows.arrow.column("family").to_pylist(), str)
    rows = FitRows.of(preprocessor.transform(flows.arrow), families, families, preprocessor.categorical)
    threads = len(os.sched_getaffinity(0))
    facts: dict[str, Any] = {"rows": len(rows), "threads": threads}

    ours, bare = _take_turns(
        lambda: HybridKind().fit(rows, PARAMS, 1, threads), lambda: fit_bare(rows, threads), options.rounds
    )
    record("hybrid", "fit", statistics.median(ours), "CPU s", {"the bare fits": _ratio(ours, bare)}, **facts)
    record("hybrid", "bare fits", statistics.median(bare), "CPU s", **facts)

    hybrid = HybridKind().fit(rows, PARAMS, 1, 1)
    chunks = [rows.matrix[start : start + CHUNK_ROWS] for start in range(0, len(rows), CHUNK_ROWS)]
    ours, bare = _take_turns(lambda: _score(hybrid, chunks), _bare_scoring(hybrid, chunks), options.rounds)
    ratio = {"the bare models": _ratio(bare, ours)}
    record("hybrid", "score", len(rows) / statistics.median(ours), "flows/CPU s", ratio, **facts)
    record("hybrid", "bare models", len(rows) / statistics.median(bare), "flows/CPU s", **facts)

    for name, unit, rate in _in_service(flows, threads, options.rounds):
        record("hybrid", name, rate, unit, threads=threads, rows=SCORED_ROWS)


def fit_bare(rows: FitRows, threads: int) -> None:
    """The same trees, family head and components, without anything around them."""
    settings = PARAMS.trees.model_dump(include={"max_depth", "learning_rate"}) | {"nthread": threads}
    for columns in deal(rows.matrix.shape[1], PARAMS.trees, 1):
        data = xgb.QuantileDMatrix(np.ascontiguousarray(rows.matrix[:, columns]), rows.attack)
        xgb.train(settings | {"objective": "binary:logistic"}, data, PARAMS.trees.n_estimators)
    attacks, names = rows.where(rows.attack == 1), rows.family_names
    data = xgb.QuantileDMatrix(attacks.matrix, np.searchsorted(names, attacks.families))
    head = XgbClassifierParams().model_dump() | {"num_class": len(names), "objective": "multi:softprob"}
    rounds = head.pop("n_estimators")
    xgb.train(head | {"nthread": threads}, data, rounds)
    benign = rows.matrix[rows.attack == 0]
    codes = [benign[:, at, None] == np.unique(benign[:, at]) for at in np.flatnonzero(rows.categorical)]
    numbers = np.log1p(np.abs(benign[:, ~np.asarray(rows.categorical)]))
    PCA(PARAMS.variance_kept).fit(np.hstack([(numbers - numbers.mean(0)) / (numbers.std(0) + 1e-9), *codes]))


def _score(hybrid: Hybrid, chunks: list[Matrix]) -> None:
    for chunk in chunks:
        hybrid.score(chunk)


def _bare_scoring(hybrid: Hybrid, chunks: list[Matrix]) -> Callable[[], None]:
    novelty, booster = hybrid.reconstruction, hybrid.trees.booster
    scaled = [novelty.scaling.columns(chunk) for chunk in chunks]

    def act() -> None:
        for chunk, columns in zip(chunks, scaled, strict=True):
            booster.inplace_predict(chunk, predict_type="margin")
            off = columns - novelty.mean
            ((off - (off @ novelty.components) @ novelty.components.T) ** 2).sum(axis=1)

    return act


def _in_service(flows: FlowTable, threads: int, rounds: int) -> list[tuple[str, str, float]]:
    """Flows a second of `Scorer.score`, from Arrow to verdicts and families, by the wall and of processor time."""
    labelled = flows.slice(0, 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        scorer = Scorer(
            train_bundle(folder, load_schema("nsl_kdd", ROOT / "schema"), labelled, kind="hybrid", params=PARAMS),
            threads,
        )
        times = -(-SCORED_ROWS // len(flows))
        table = FlowTable(pa.concat_tables([flows.arrow] * times).slice(0, SCORED_ROWS), flows.schema_id)
        scorer.score(table)
        seconds = []
        for _ in range(rounds):
            wall, processor = time.perf_counter(), time.process_time()
            scorer.score(table)
            seconds.append((time.perf_counter() - wall, time.process_time() - processor))
        scorer.close()
    wall, processor = (SCORED_ROWS / statistics.median(each) for each in zip(*seconds, strict=True))
    name = f"Scorer.score, {threads} threads"
    return [(name, "flows/s", wall), (f"{name}, of processor time", "flows/CPU s", processor)]


def _take_turns(ours: Callable[[], Any], bare: Callable[[], Any], rounds: int) -> tuple[list[float], list[float]]:
    """Processor time of each in every round; a first round warms up and is not counted."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        for spent, act in zip(seconds, (ours, bare), strict=True):
            started = time.process_time()
            act()
            if turn:
                spent.append(time.process_time() - started)
    return seconds


def _ratio(these: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(these, others, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
