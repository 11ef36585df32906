"""How many alerts a second the default hybrid explains: exact TreeSHAP, residuals and the words.

    [NETWARDEN_DATA=...] python benchmarks/bench_explain.py [--rows 1000] [--fit-rows 20000] [--rounds 3]

Rows are NSL-KDD's where NETWARDEN_DATA is set, made up otherwise. The aim is 500 a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench_scoring import ROOT, labelled_flows
from figures import record

sys.path.insert(0, str(ROOT))
from netwarden.detector_params import HybridParams
from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.explain import explain
from tests.fixtures.bundles import train_bundle

AIM = 500.0


def main() -> None:
    """Measure, print and keep the figure."""
    options = _options()
    schema = load_schema("nsl_kdd", ROOT / "schema")
    flows = labelled_flows(schema)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = train_bundle(
            Path(scratch) / "bundle", schema, flows.slice(0, options.fit_rows), kind="hybrid", params=HybridParams()
        )
        alerts = flows.slice(0, options.rows)
        explain(bundle, alerts.slice(0, 10))  # the copy that explains is made once
        rounds = [_seconds(bundle, alerts) for _ in range(options.rounds)]
    facts = {"target": AIM, "rows": len(alerts), "threads": len(os.sched_getaffinity(0))}
    wall, processor = (len(alerts) / statistics.median(each) for each in zip(*rounds, strict=True))
    record("explain", "explain, default hybrid", wall, "flows/s", **facts)
    # The wall clock also counts whoever else is at work on this machine.
    record("explain", "explain, default hybrid, of processor time", processor, "flows/CPU s", **facts)


def _seconds(bundle: DetectorBundle, alerts: FlowTable) -> tuple[float, float]:
    """Seconds by the wall clock and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    explain(bundle, alerts)
    return time.perf_counter() - wall, time.process_time() - processor


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--fit-rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
