"""What hidden attacks do to a calibration: false positives and recall with and without them, on the default hybrid.

    NETWARDEN_DATA=... python benchmarks/bench_calibrate.py [--rows 30000] [--budget 0.01]

Only KDDTrain+ is read: its first rows train, benign rows of the next ones calibrate, the other benign rows judge. Known
attacks are drawn from the next rows as well, so their kinds were seen in training. Two kinds of odd flows are made of
benign ones: in `mixed flows` each value comes from another flow, in `far flows` three values are far beyond all others.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from bench_scoring import ROOT, labelled_flows
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.detectors.base import Detector, Matrix
from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.schema import load_schema
from netwarden.scoring.adaptation import adapt

sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import train_bundle

SHARES = (0.005, 0.01, 0.02)  # of the benign flows


def main() -> None:
    """Measure, print and keep the figures."""
    options = _options()
    if not os.environ.get("NETWARDEN_DATA"):
        raise SystemExit("set NETWARDEN_DATA: made-up flows say nothing about this")
    schema = load_schema("nsl_kdd", ROOT / "schema")
    flows = labelled_flows(schema)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        bundle = train_bundle(folder, schema, flows.slice(0, options.rows), kind="hybrid", params=HybridParams())
    later = flows.slice(options.rows, options.rows).arrow
    benign = pc.equal(later.column("family"), "benign")
    calm, attacks = (bundle.preprocessor.transform(later.filter(rows)) for rows in (benign, pc.invert(benign)))
    mine, others = np.array_split(calm, 2)
    draw = np.random.default_rng(0)
    _measure(bundle, "nothing", mine, mine[:0], others, attacks, options.budget)
    kinds = {"known attacks": attacks, "mixed flows": draw.permuted(mine, axis=0), "far flows": _far(bundle, mine)}
    for kind, among in kinds.items():
        for share in SHARES:
            hidden = among[draw.choice(len(among), round(share * len(mine)), replace=False)]
            _measure(bundle, f"{share:.1%} {kind}", mine, hidden, others, attacks, options.budget)


def _far(bundle: DetectorBundle, rows: Matrix) -> Matrix:
    far = rows.copy()
    far[:, [bundle.preprocessor.names.index(name) for name in ("duration", "hot", "num_root")]] = 30_000
    return far


def _measure(
    bundle: DetectorBundle, what: str, mine: Matrix, hidden: Matrix, others: Matrix, attacks: Matrix, budget: float
) -> None:
    """Calibrate on `mine` with `hidden` among them; judge by other benign flows and by attacks."""
    made = adapt(bundle, np.vstack([mine, hidden]), budget)

    def alerting(detector: Detector, threshold: float, rows: Matrix) -> float:
        return float(np.mean(bundle.calibration.apply(detector.score(rows)) >= threshold))

    after = partial(alerting, made.detector, made.threshold.value)
    figures = {
        "false positives": after(others),
        "recall of known attacks": after(attacks),
        "benign flows set aside": float(made.set_aside[: len(mine)].mean()),
    }
    if len(hidden):
        before = bundle.manifest.threshold.moved(budget).value
        figures |= {
            "set aside": float(made.set_aside[len(mine) :].mean()),
            "alert before": alerting(bundle.detector, before, hidden),
            "alert afterwards": after(hidden),
        }
    for name, value in figures.items():
        record("calibrate", f"{what} hidden: {name}", value, "of them", budget=budget, rows=len(mine))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--budget", type=float, default=0.01)
    return parser.parse_args()


if __name__ == "__main__":
    main()
