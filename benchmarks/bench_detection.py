"""How well detectors detect: every figure of docs/detection.md, from the loaded files on, over several seeds.

    python benchmarks/bench_detection.py [--only PART ...] [--detector KIND] [--seeds N]

Parts: official and random (NSL-KDD), families and attacks (NSL-KDD, each in turn unknown in training), resampling
(NSL-KDD, attack names held out in groups), lab and tools (the bundled dataset), temporal (IoT-23), cross_iot23 and
cross_cic (fitted on the lab, judged by flows of other networks). What is fitted on the lab has the parameters of
params.json, all else those of config/nsl_kdd.json. A part whose data are not here is skipped, and said to be.
Figures are means over seeds; those of trivial models bear the model's name.

official, lab, temporal and the two crossings look at test rows, which docs/evaluations.md records. Whoever runs them on
an unchanged detector repeats an earlier look, and the page says so; other figures are a further look.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import record

from netwarden.settings import Settings, load_settings
from netwarden.sources.datasets import public_dataset
from netwarden.sources.etl import run_etl
from netwarden.training.candidate import Candidate
from netwarden.training.experiments import Figure, Result
from netwarden.training.judging import judge_across, judge_dataset, judge_resampling

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Part:
    """A protocol on a dataset, or a comparison; `start` begins the names of its figures."""

    dataset: str
    protocol: str
    start: str
    judged_by: str = ""  # another dataset

    @property
    def params_file(self) -> Path:
        """Parameters chosen on the lab's training days, or on NSL-KDD's training rows."""
        return ROOT / ("params.json" if self.dataset == "lab" else "config/nsl_kdd.json")


PARTS = {
    "official": Part("nsl_kdd", "official", "kddtest"),
    "random": Part("nsl_kdd", "random", "random"),
    "families": Part("nsl_kdd", "leave-family-out", "lofo"),
    "resampling": Part("nsl_kdd", "resampling", "resampling"),
    "lab": Part("lab", "official", "lab"),
    "temporal": Part("iot23", "temporal", "temporal"),
    "cross_iot23": Part("lab", "cross-dataset", "lab_to_iot23", judged_by="iot23"),
    "cross_cic": Part("lab", "cross-dataset", "lab_to_cic", judged_by="cic_rows"),
    "tools": Part("lab", "leave-tool-out", "loto"),
    "attacks": Part("nsl_kdd", "leave-attack-out", "loao"),
}
FILES = {  # of datasets that ETL does not find by their name, under NETWARDEN_DATA
    "iot23": ("logs/zeek_iot23_conn.log.labeled.gz",),
    "cic_rows": (
        "cic-ids2017/baseline_*.csv.gz",
        "cic-ids2017/monday_first_999.csv.gz",
        "cic-ids2017/thursday_web_first_1006.csv.gz",
    ),
}
SUBSETS = {"kddtest_21": "kddtest21", "iot23": "lab_to_iot23", "cic_rows": "lab_to_cic"}
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


RESAMPLING_BUDGET = 0.01


def main() -> None:
    """Judge, print and append to results/detection.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--detector", default="hybrid")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    settings = load_settings(start=ROOT)
    parts = {name: PARTS[name] for name in given.only}
    wanted = sorted({dataset for part in parts.values() for dataset in (part.dataset, part.judged_by) if dataset})
    loaded = {dataset for dataset in wanted if load(settings, dataset)}
    for name, part in parts.items():
        missing = {part.dataset, part.judged_by or part.dataset} - loaded
        if missing:
            say(f"{name}: skipped without {', '.join(sorted(missing))}")
            continue
        for figure_name, figure in figures_of(settings, part, given.detector, given.seeds):
            facts = {"spread": figure.spread, "interval": figure.interval, "each": figure.each}
            record("detection", figure_name, figure.mean, "", detector=given.detector, seeds=given.seeds, **facts)


def load(settings: Settings, dataset: str) -> bool:
    """Whether the dataset is in the store, where this puts it; one whose files are not here is skipped."""
    public = public_dataset(dataset)
    if public and public.shipped and not (settings.workspace / public.shipped).is_dir():
        return False
    paths = [path for pattern in FILES.get(dataset, ()) for path in sorted(settings.datasets.glob(pattern))]
    if dataset in FILES and not paths:
        return False
    run_etl(settings, paths, dataset=dataset)
    return True


def figures_of(settings: Settings, part: Part, detector: str, seeds: int) -> Iterable[tuple[str, Figure]]:
    """Each figure of a part under its name."""
    candidate = Candidate(part.dataset, detector, part.params_file)
    if part.protocol == "resampling":
        return resampled(settings, candidate, part.start, seeds)
    if part.judged_by:
        _, results = judge_across(settings, candidate, part.judged_by, seeds, say)
    else:
        results = judge_dataset(settings, part.protocol, candidate, seeds, say)
    return named(results, part.start, detector)


def resampled(settings: Settings, candidate: Candidate, start: str, seeds: int) -> Iterable[tuple[str, Figure]]:
    """Figures of each way of resampling: `resampling_smote_family_macro_f1_seen_b1`."""
    _, results = judge_resampling(settings, candidate, seeds, RESAMPLING_BUDGET, say)
    for each in results:
        for heading, values in each.figures.items():
            what = heading.lower().replace("macro-f1", "macro_f1").replace(",", "").replace(" ", "_")
            yield f"{start}_{each.method}_{what}_b1", Figure(tuple(float(value) for value in values))


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
