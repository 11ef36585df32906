"""What detectors make of the bundled dataset's test day, attack by attack, over several seeds, beside trivial models.

    python benchmarks/bench_lab.py [--seeds N] [--data FOLDER]

Figures are recalls at a budget of 0.1 % false positives (netwarden.lab.audit_models says how). They judge the dataset;
nothing is chosen by them.
"""

import argparse
from pathlib import Path

import numpy as np
from figures import record

from netwarden.lab.audit import GROUPS, run_audit
from netwarden.lab.audit_models import MODELS
from netwarden.settings import load_settings

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure, print and append to results/lab.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=None, help="folder of a dataset; default: the one that ships")
    given = parser.parse_args()
    audit = run_audit(load_settings(start=ROOT), given.data, given.seeds, print)
    facts = {"seeds": given.seeds}
    for model in MODELS:
        for group in (*GROUPS, ""):
            recall = audit.recall(model, group)
            if len(recall):
                name = f"{model}: recall, {group or 'all'}"
                record("lab", name, recall.mean(), "", spread=float(recall.std()), each=recall.tolist(), **facts)
        rates = np.array(audit.false_positive_rates[model])
        record("lab", f"{model}: false positive rate", rates.mean(), "", spread=float(rates.std()), **facts)
    for attack in audit.attacks:
        for model in MODELS[:4]:
            each = np.array(attack.recalls[model])
            told = {"group": attack.group, "flows": attack.flows, "spread": float(each.std()), "each": each.tolist()}
            record("lab", f"{model}: {attack.variant}", each.mean(), "", **told, **facts)


if __name__ == "__main__":
    main()
