"""What the context columns are worth: the same detector with and without them, trained and tested on disjoint times.

`make bench-context` meters the given captures (NETWARDEN_PCAPS): synscan and malicious-ssh-bruteforce are attacks, the
others benign but for two, which are left out because they hold both. `python benchmarks/bench_context.py flows.csv.gz`
takes any labelled table of metered flows (CSV, Parquet; columns `label`, with benign or the name of an attack,
`started_at`, and the features of schema netwarden_flow). Captures of benign flows alone train or test as a whole, as
the seed deals them; of others, and of a table, the earlier half in time trains and the later half tests. Printed, and
appended to benchmarks/results, is the mean over seeds.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from figures import record
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from threadpoolctl import threadpool_limits

from netwarden.capture.context import CONTEXT_NAMES
from netwarden.capture.definitions import FEATURES
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures

SUBJECT = "context"
ATTACKS = {"synscan": "portsweep", "malicious-ssh-bruteforce": "ssh_guess"}
MIXED = {"WebattackXSS", "test-cc-capture-1"}  # benign and malicious flows side by side, without labels
BENIGN = "benign"
ALONE = [feature.name for feature in FEATURES]
WAYS = {"76 features": ALONE, "with context": [*ALONE, *CONTEXT_NAMES], "context alone": list(CONTEXT_NAMES)}
FALSE_POSITIVE_RATE = 0.01


def main() -> None:
    """Print one line for each way and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flows", type=Path, nargs="?", help="labelled table; without it, the given captures")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    flows = table(options.flows) if options.flows else given()
    facts = {"flows": len(flows), "attacks": int((flows["label"] != BENIGN).sum()), "seeds": options.seeds}
    for way, names in WAYS.items():
        found = pd.DataFrame([judged(*halves(flows, seed), names, seed) for seed in range(options.seeds)])
        for figure, value in found.mean().items():
            record(SUBJECT, f"{figure}, {way}", float(value), "", spread=float(found[figure].std()), **facts)


def judged(train: Any, test: Any, names: list[str], seed: int) -> dict[str, float]:
    """Figures of one detector on rows that it never saw."""
    model = HistGradientBoostingClassifier(random_state=seed, max_iter=60, max_features=0.5)
    with threadpool_limits(1):  # small tables: threads would wait for each other
        model.fit(train[names], train["label"] != BENIGN)
        scores = model.predict_proba(test[names])[:, 1]
    attack = (test["label"] != BENIGN).to_numpy()
    threshold = np.quantile(scores[~attack], 1 - FALSE_POSITIVE_RATE)
    return {
        "AUC": roc_auc_score(attack, scores),
        "average precision": average_precision_score(attack, scores),
        **{
            f"recall of {name} at {FALSE_POSITIVE_RATE:.0%} false positives": float((scores[rows] > threshold).mean())
            for name, rows in ((n, (test["label"] == n).to_numpy()) for n in sorted(set(test["label"]) - {BENIGN}))
        },
    }


def halves(flows: Any, seed: int) -> tuple[Any, Any]:
    """Flows that train and flows that test: see above."""
    origins = flows.groupby("origin")
    early = flows["started_at"] < origins["started_at"].transform("median")
    whole = origins["label"].transform(lambda labels: (labels == BENIGN).all()).astype(bool)
    names = sorted(set(flows.loc[whole, "origin"]))
    dealt = set(np.random.default_rng(seed).permutation(names)[::2])
    trains = early.where(~whole, flows["origin"].isin(dealt)).astype(bool)
    return flows[trains], flows[~trains]


def table(path: Path) -> Any:
    """A labelled table from a file."""
    frame: Any = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    return frame.assign(origin=path.name, started_at=pd.to_datetime(frame["started_at"], utc=True, format="ISO8601"))


def given() -> Any:
    """Flows of the given captures, each metered by itself."""
    folder = os.environ.get("NETWARDEN_PCAPS")
    if not folder:
        raise SystemExit("NETWARDEN_PCAPS is not set: it names the folder of the given captures")
    paths = sorted(path for path in Path(folder).rglob("*.pcap*") if path.is_file() and _name(path) not in MIXED)
    return pd.concat([_metered(path) for path in paths], ignore_index=True)


def _metered(path: Path) -> Any:
    name = _name(path)
    frames = [metered.arrow.to_pandas() for metered in meter_captures([path], MeterSettings())]
    return pd.concat(frames).assign(origin=name, label=ATTACKS.get(name, BENIGN))


def _name(path: Path) -> str:
    return path.name.split(".")[0]


if __name__ == "__main__":
    main()
