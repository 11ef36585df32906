"""How well detectors detect: every figure of docs/detection.md, from the loaded files on, over several seeds.

    python benchmarks/bench_detection.py [--only PART ...] [--detector KIND] [--seeds N]

Parts: official and random (NSL-KDD), families and attacks (NSL-KDD, each in turn unknown in training), lab and tools
(the bundled dataset); all but attacks by default. Figures are means over seeds; those of trivial models bear the
model's name. `official` and `lab` look at test rows, which docs/evaluations.md records.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from figures import record

from netwarden.settings import Settings, load_settings
from netwarden.sources.datasets import public_dataset
from netwarden.sources.etl import run_etl
from netwarden.training.experiments import Figure, Result
from netwarden.training.judging import judge_dataset

ROOT = Path(__file__).parents[1]
PARTS = {  # name: dataset, protocol, start of the figures' names
    "official": ("nsl_kdd", "official", "kddtest"),
    "random": ("nsl_kdd", "random", "random"),
    "families": ("nsl_kdd", "leave-family-out", "lofo"),
    "attacks": ("nsl_kdd", "leave-attack-out", "loao"),
    "lab": ("lab", "official", "lab"),
    "tools": ("lab", "leave-tool-out", "loto"),
}
SLOW = "attacks"  # a fit for each attack name and seed, some twenty minutes: only when it is asked for
SUBSETS = {"kddtest_21": "kddtest21"}
BUDGETS = {"b01": "0.001", "b1": "0.01", "b5": "0.05"}
MEASURED = {  # end of the figures' names: name of the figure
    "accuracy": "accuracy",
    "f1": "f1",
    "fpr": "false_positive_rate",
    "recall": "recall",
    "seen_recall": "recall_seen_attacks",
    "unseen_recall": "recall_unseen_attacks",
    "precision_p01": "precision_at_0.001",
    "precision_p1": "precision_at_0.01",
    "precision_p10": "precision_at_0.1",
    "alerts_per_day_p01": "alerts_per_day_at_0.001",
    "alerts_per_day_p1": "alerts_per_day_at_0.01",
    "alerts_per_day_p10": "alerts_per_day_at_0.1",
}


def main() -> None:
    """Judge, print and append to results/detection.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=[part for part in PARTS if part != SLOW])
    parser.add_argument("--detector", default="hybrid")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    settings = load_settings(start=ROOT)
    loaded = {dataset for dataset in {PARTS[part][0] for part in given.only} if load(settings, dataset)}
    for part in given.only:
        dataset, protocol, start = PARTS[part]
        if dataset in loaded:
            results = judge_dataset(settings, protocol, dataset, given.detector, given.seeds, say)
            for name, figure in named(results, start, given.detector):
                facts = {"spread": figure.spread, "interval": figure.interval, "each": figure.each}
                record("detection", name, figure.mean, "", detector=given.detector, seeds=given.seeds, **facts)


def load(settings: Settings, dataset: str) -> bool:
    """Whether the dataset is in the store, where this puts it; a dataset that does not come along here is skipped."""
    public = public_dataset(dataset)
    if public and public.shipped and not (settings.workspace / public.shipped).is_dir():
        say(f"{dataset}: skipped, {public.shipped} is not in this checkout")
        return False
    run_etl(settings, [], dataset=dataset)
    return True


def named(results: Sequence[Result], start: str, detector: str) -> Iterable[tuple[str, Figure]]:
    """Each figure under its name: `kddtest_accuracy_b5`, `lofo_recall_dos_b1`, `majority: kddtest_accuracy_b1`."""
    for result in results:
        model = "" if result.model == detector else f"{result.model}: "
        subset = SUBSETS.get(result.held_out)
        group = "" if subset else result.held_out.replace(" ", "_")
        found = result.figures
        for short, budget in BUDGETS.items():
            for end, figure in MEASURED.items():
                if f"{figure}@{budget}" in found:
                    name = "_".join(filter(None, (subset or start, end, group, short)))
                    yield model + name, found[f"{figure}@{budget}"]
        whole = (
            ("auc", "roc_auc@0.01"),
            ("macro_f1_family", "nearest_family_macro_f1@0.05"),
            ("macro_f1_verdict", "family_macro_f1@0.05"),
            ("fit_s", "fit_s"),
        )
        for end, figure in whole:
            if figure in found:
                yield model + "_".join(filter(None, (subset or start, end, group))), found[figure]


def say(text: str) -> None:
    """How far it is."""
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
