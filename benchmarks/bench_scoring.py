"""How fast Netwarden scores, beside the ways one would otherwise do it: in one run, interleaved, on equal threads.

    [NETWARDEN_DATA=...] python benchmarks/bench_scoring.py [--rows 500000] [--rounds 7] [--threads N]

Rows are NSL-KDD's where NETWARDEN_DATA is set, made up otherwise; models are 100 trees of depth 6, as in params.json.
A figure is the median over the rounds; a ratio is the median of each round's ratio, so that whatever else the machine
does slows both sides of it. More than half of NSL-KDD is attacks, so with the family head on (400 trees more, on
alerts only) its rows are dear; real traffic has far fewer alerts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import treelite
import xgboost as xgb
from figures import record
from onnxmltools.convert import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from onnxruntime import InferenceSession, SessionOptions
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.labels import load_families
from netwarden.flows.schema import FlowSchema, load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from netwarden.sources.files import read_batches

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import made_up_flows, train_bundle  # noqa: E402 - found through the line above

PARAMS = {"n_estimators": 100, "max_depth": 6, "learning_rate": 0.3}
SCORER, BARE, SKLEARN = "Scorer.score", "bare Booster.inplace_predict", "sklearn ColumnTransformer + XGBClassifier"
FAMILIES, BARE_FAMILIES = "Scorer.score, family head on", "bare inplace_predict, both heads"


@dataclass(frozen=True)
class Contender:
    """One way to score `rows` rows; `scores` of it are compared with XGBoost's where it gives any."""

    name: str
    rows: int
    run: Callable[[], Any]
    against: tuple[str, ...] = ()


def main() -> None:
    """Measure, print and keep the figures."""
    options = _options()
    schema = load_schema("nsl_kdd", ROOT / "schema")
    labelled = labelled_flows(schema)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = train_bundle(Path(scratch) / "bundle", schema, labelled, params=PARAMS)
        contenders = _contenders(bundle, labelled, options)
        seconds = _interleaved(contenders, options.rounds)
    rate = {c.name: [c.rows / each for each in seconds[c.name]] for c in contenders}
    for contender in contenders:
        ratios = {
            other: statistics.median(a / b for a, b in zip(rate[contender.name], rate[other], strict=True))
            for other in contender.against
        }
        record(
            "scoring",
            contender.name,
            statistics.median(rate[contender.name]),
            "rows/s",
            ratios,
            threads=options.threads,
        )
    _single_row(bundle, labelled)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def labelled_flows(schema: FlowSchema) -> FlowTable:
    """Shuffled rows with families: KDDTrain+ or made-up ones."""
    given = os.environ.get("NETWARDEN_DATA")
    if given:
        families = load_families(ROOT / "schema" / "families.yaml")
        path = Path(given) / "nsl-kdd" / "KDDTrain+.txt.gz"
        arrow = pa.concat_tables(b.table.arrow for b in read_batches(path, schema, families, labelled=True))
    else:
        arrow = made_up_flows(schema, 100_000, seed=1).arrow
    order = np.random.default_rng(1).permutation(arrow.num_rows)
    return FlowTable(arrow.take(pa.array(order)).combine_chunks(), schema.id)


def _contenders(bundle: DetectorBundle, labelled: FlowTable, options: argparse.Namespace) -> list[Contender]:
    names, threads = list(bundle.preprocessor.names), options.threads
    times = -(-options.rows // len(labelled))
    arrow = pa.concat_tables([labelled.arrow.select(names)] * times).combine_chunks().slice(0, options.rows)
    table, few = FlowTable(arrow, labelled.schema_id), options.rows // 5
    matrix, frame = bundle.preprocessor.transform(arrow), arrow.slice(0, few).to_pandas()
    detector: Any = bundle.detector  # boosted trees, by construction
    binary_only = replace(bundle, detector=replace(detector, family=None, families=()))
    binary, family = _on(detector.binary, threads), _on(detector.family, threads)
    plain, full = Scorer(binary_only, threads), Scorer(bundle, threads)
    alerts = np.flatnonzero(full.score(table).column("score").to_numpy() >= bundle.threshold)
    print(f"{len(table):,} rows, {len(alerts) / len(table):.0%} of them alerts; {threads} threads")
    pipeline, onnx = _sklearn(labelled, names, threads), _onnx(detector.binary, matrix.shape[1], threads)
    lite = treelite.frontend.from_xgboost(detector.binary)
    for name, scores in (
        ("ONNX Runtime", onnx(matrix[:few])),
        ("treelite GTIL", treelite.gtil.predict(lite, matrix[:few], nthread=threads).ravel()),
    ):
        off = float(np.max(np.abs(scores - binary.inplace_predict(matrix[:few]))))
        print(f"{name} differs from XGBoost by up to {off:.2g}" if off else f"{name} equals XGBoost exactly")

    def both_heads() -> None:
        binary.inplace_predict(matrix)
        family.inplace_predict(matrix[alerts])

    return [
        Contender(SCORER, len(table), lambda: plain.score(table), (BARE, SKLEARN)),
        Contender(BARE, len(table), lambda: binary.inplace_predict(matrix)),
        Contender(SKLEARN, few, lambda: pipeline.predict_proba(frame)),
        Contender(FAMILIES, len(table), lambda: full.score(table), (BARE_FAMILIES, SKLEARN)),
        Contender(BARE_FAMILIES, len(table), both_heads),
        Contender("Preprocessor.transform, one thread", len(table), lambda: bundle.preprocessor.transform(arrow)),
        Contender("ONNX Runtime on a ready matrix", few, lambda: onnx(matrix[:few]), (BARE,)),
        Contender(
            "treelite GTIL on a ready matrix",
            few // 4,
            lambda: treelite.gtil.predict(lite, matrix[: few // 4], nthread=threads),
            (BARE,),
        ),
    ]


def _interleaved(contenders: list[Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; a first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for turn in range(rounds + 1):
        for contender in contenders:
            started = time.perf_counter()
            contender.run()
            if turn:
                seconds[contender.name].append(time.perf_counter() - started)
    return seconds


def _single_row(bundle: DetectorBundle, labelled: FlowTable) -> None:
    scorer, seconds = Scorer(bundle, threads=1), []
    for at in range(300):
        row = labelled.slice(at, 1)
        started = time.perf_counter()
        scorer.score(row)
        seconds.append(time.perf_counter() - started)
    record("scoring", "Scorer.score of one row, median", statistics.median(seconds) * 1e6, "us")


def _on(booster: Any, threads: int) -> Any:
    own = booster.copy()
    own.set_param({"nthread": threads})
    return own


def _sklearn(labelled: FlowTable, names: list[str], threads: int) -> Any:
    """The usual pipeline, fitted on rows enough to grow the same number of full trees."""
    frame = labelled.arrow.select(names).slice(0, 100_000).to_pandas()
    attack = np.array(labelled.arrow.column("family").slice(0, 100_000).to_pylist()) != "benign"
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")), remainder="passthrough"
    )
    return make_pipeline(encode, xgb.XGBClassifier(**PARAMS, n_jobs=threads)).fit(frame, attack)


def _onnx(booster: Any, features: int, threads: int) -> Callable[[Any], Any]:
    with tempfile.TemporaryDirectory() as scratch:
        booster.save_model(Path(scratch) / "model.ubj")
        model = xgb.XGBClassifier()
        model.load_model(Path(scratch) / "model.ubj")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own deprecations
        graph = convert_xgboost(model, initial_types=[("x", FloatTensorType([None, features]))], target_opset=15)
    options = SessionOptions()
    options.intra_op_num_threads = threads
    session = InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda matrix: session.run(["probabilities"], {"x": matrix})[0][:, 1]


if __name__ == "__main__":
    main()
