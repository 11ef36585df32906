"""What hidden attacks do to a calibration: false positives and recall with and without them, on the default hybrid.

    NETWARDEN_DATA=... python benchmarks/bench_calibrate.py [--rows 30000] [--budget 0.01] [--draws 4]

Only KDDTrain+ is read. In each draw some rows train, without a third of the attack names; benign rows of others
calibrate, and the other benign ones judge. Hidden among those that calibrate are known attacks, attacks of the names
left out, and two kinds of odd flows made of benign ones: in `mixed flows` each value comes from another flow, in `far
flows` three values that seldom vary are far beyond all others. Figures are means over draws; `each` holds them all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bench_scoring import ROOT, labelled_flows
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.detectors.base import Detector, Matrix
from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.adaptation import Adapted, adapt

sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import train_bundle

SHARES = (0.005, 0.01, 0.02)  # of the benign flows
LEAST_OF_A_NAME = 100
SELDOM_VARY = (
    "duration",
    "hot",
    "num_root",
    "num_failed_logins",
    "num_compromised",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "urgent",
    "wrong_fragment",
)


@dataclass(frozen=True)
class Network:
    """A bundle, benign flows that calibrate it and others that judge, attacks of names it knows, and what is hidden."""

    bundle: DetectorBundle
    mine: Matrix
    others: Matrix
    known: Matrix
    kinds: dict[str, Matrix]


def main() -> None:
    """Measure, print and keep the figures."""
    options = _options()
    if not os.environ.get("NETWARDEN_DATA"):
        raise SystemExit("set NETWARDEN_DATA: made-up flows say nothing about this")
    schema = load_schema("nsl_kdd", ROOT / "schema")
    flows = labelled_flows(schema)
    found: dict[str, list[float]] = {}
    for draw in range(options.draws):
        with tempfile.TemporaryDirectory() as scratch:
            network = _network(flows, options.rows, np.random.default_rng(draw), Path(scratch) / "bundle")
        for name, value in _figures(network, options.budget, np.random.default_rng(draw)):
            found.setdefault(name, []).append(value)
    facts = {"budget": options.budget, "draws": options.draws}
    for name, each in found.items():
        record("calibrate", name, float(np.mean(each)), "of them", each=each, **facts)


def _network(flows: FlowTable, rows: int, draw: np.random.Generator, folder: Path) -> Network:
    arrow = flows.arrow.take(pa.array(draw.permutation(len(flows))[: 2 * rows]))
    names = np.array(arrow.column("label").to_pylist())
    benign = np.array(arrow.column("family").to_pylist()) == "benign"
    unknown = np.isin(names, _left_out(names[~benign], draw))
    first = np.arange(len(names)) < rows
    bundle = train_bundle(
        folder,
        load_schema(flows.schema_id, ROOT / "schema"),
        FlowTable(arrow.filter(pa.array(first & ~unknown)), flows.schema_id),
        kind="hybrid",
        params=HybridParams(),
    )

    def matrix(marks: npt.NDArray[np.bool_]) -> Matrix:
        return bundle.preprocessor.transform(arrow.filter(pa.array(marks)))

    mine, others = np.array_split(matrix(~first & benign), 2)
    known = matrix(~first & ~benign & ~unknown)
    odd = {"mixed flows": draw.permuted(mine, axis=0), "far flows": _far(bundle, mine, draw)}
    return Network(bundle, mine, others, known, {"known attacks": known, "unknown attacks": matrix(unknown), **odd})


def _left_out(names: npt.NDArray[np.str_], draw: np.random.Generator) -> npt.NDArray[np.str_]:
    """A third of the attack names that have rows enough."""
    each, counts = np.unique(names, return_counts=True)
    frequent = each[counts >= LEAST_OF_A_NAME]
    return np.asarray(draw.permutation(frequent)[: len(frequent) // 3])


def _far(bundle: DetectorBundle, rows: Matrix, draw: np.random.Generator) -> Matrix:
    far = rows.copy()
    far[:, [bundle.preprocessor.names.index(name) for name in draw.choice(SELDOM_VARY, 3, replace=False)]] = 30_000
    return far


def _figures(network: Network, budget: float, draw: np.random.Generator) -> list[tuple[str, float]]:
    """Calibrated on `mine` alone, then with some of each kind hidden among them."""
    bundle, mine = network.bundle, network.mine
    clean = adapt(bundle, mine, budget)
    found = [
        ("nothing hidden: false positives", _alerting(bundle, clean, network.others)),
        ("nothing hidden: recall of known attacks", _alerting(bundle, clean, network.known)),
        ("nothing hidden: benign flows set aside", float(clean.set_aside.mean())),
    ]
    for kind, among in network.kinds.items():
        found.append((f"nothing hidden: alert afterwards of {kind}", _alerting(bundle, clean, among)))
        for share in SHARES:
            hidden = among[draw.choice(len(among), round(share * len(mine)), replace=False)]
            made = adapt(bundle, np.vstack([mine, hidden]), budget)
            what = f"{share:.1%} {kind} hidden"
            found += [
                (f"{what}: false positives", _alerting(bundle, made, network.others)),
                (f"{what}: recall of known attacks", _alerting(bundle, made, network.known)),
                (f"{what}: set aside", float(made.set_aside[len(mine) :].mean())),
                (f"{what}: alert before", _share(bundle, bundle.detector, _before(bundle, budget), hidden)),
                (f"{what}: alert afterwards", _alerting(bundle, made, hidden)),
            ]
    return found


def _before(bundle: DetectorBundle, budget: float) -> float:
    return bundle.manifest.threshold.moved(budget).value


def _alerting(bundle: DetectorBundle, made: Adapted, rows: Matrix) -> float:
    return _share(bundle, made.detector, made.threshold.value, rows)


def _share(bundle: DetectorBundle, detector: Detector, threshold: float, rows: Matrix) -> float:
    return float(np.mean(bundle.calibration.apply(detector.score(rows)) >= threshold))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--budget", type=float, default=0.01)
    parser.add_argument("--draws", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
