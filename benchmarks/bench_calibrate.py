"""What hidden attacks do to a calibration: false positives and recall with and without them, on the default hybrid.

    NETWARDEN_DATA=... python benchmarks/bench_calibrate.py [--rows 30000] [--budget 0.01]

Only KDDTrain+ is read: its first rows train, benign rows of the next ones calibrate, the other benign rows judge. The
hidden attacks are drawn from the next rows as well, so their kinds were seen in training.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from bench_scoring import ROOT, labelled_flows
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.flows.schema import load_schema
from netwarden.scoring.adaptation import adapt

sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import train_bundle


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
    for share in (0.0, 0.01, 0.02):
        hidden = attacks[draw.choice(len(attacks), round(share * len(mine)))]
        made = adapt(bundle, np.vstack([mine, hidden]), options.budget)
        facts = {"hidden": share, "budget": options.budget, "rows": len(mine), "train_rows": options.rows}
        for name, rows in (("false positives", others), ("recall", attacks)):
            alerts = bundle.calibration.apply(made.detector.score(rows)) >= made.threshold.value
            record("calibrate", f"{name}, {share:.0%} hidden attacks", float(np.mean(alerts)), "of flows", **facts)
        if len(hidden):
            aside = made.set_aside[len(mine) :].mean()
            record("calibrate", f"set aside of {share:.0%} hidden attacks", float(aside), "of them", **facts)
        wrongly = float(made.set_aside[: len(mine)].mean())
        record("calibrate", f"benign flows set aside, {share:.0%} hidden", wrongly, "of flows", **facts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--budget", type=float, default=0.01)
    return parser.parse_args()


if __name__ == "__main__":
    main()
