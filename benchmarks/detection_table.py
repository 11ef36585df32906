"""The figures of results/detection.jsonl as the tables of docs/detection.md: every protocol beside every other.

    python benchmarks/detection_table.py

Of figures that were measured more than once the last counts. Where a protocol holds out one name after the other, its
row has the mean over names, and a table of its own has recall by name.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from figures import RESULTS

PROTOCOLS = {  # start of the figures' names: what is said of it; those of one dataset stand together
    "kddtest": "official, KDDTest+",
    "kddtest21": "official, KDDTest-21",
    "lofo": "a family unknown",
    "loao": "an attack unknown",
    "random": "random split: misleading",
    "lab": "official, the lab's day 5",
    "loto": "the lab, a tool unknown",
    "lab_to_iot23": "the lab to IoT-23",
    "lab_to_cic": "the lab to CIC-IDS2017 rows",
    "temporal": "temporal, IoT-23",
}
MODELS = ("", "logistic_regression: ", "best feature: ", "majority: ")
BUDGETS = ("b01", "b1", "b5")
PREVALENCES = ("p01", "p1", "p10")
HELD_OUT = ("lofo", "loao", "loto")

Figures = Mapping[str, dict[str, Any]]


def main() -> None:
    """Print all tables."""
    lines = (RESULTS / "detection.jsonl").read_text(encoding="utf-8").splitlines()
    figures = {figure["name"]: figure for figure in map(json.loads, lines)}
    for table in (protocols(figures), *(by_name(figures, start) for start in HELD_OUT), resampling(figures)):
        print("\n".join(table), end="\n\n")


def protocols(figures: Figures) -> Iterable[str]:
    """A row per protocol and model, three values to a cell: budgets of 0.1, 1, 5 %, or 0.1, 1, 10 % attacks at 1 %."""
    yield "| judged by | model | ROC AUC | recall | false positives | precision | alerts a day, thousands |"
    yield "|---" * 7 + "|"
    for start, said in PROTOCOLS.items():
        for model in MODELS:
            if not any(name.startswith(f"{model}{start}_recall") for name in figures):
                continue
            cells = [
                _cell(figures, model, start, "auc", ("",)),
                _cell(figures, model, start, "recall", BUDGETS),
                _cell(figures, model, start, "fpr", BUDGETS),
                _cell(figures, model, start, "precision", PREVALENCES, "_b1"),
                _cell(figures, model, start, "alerts_per_day", PREVALENCES, "_b1"),
            ]
            seeds = next(figures[name]["seeds"] for name in figures if name.startswith(f"{model}{start}_recall"))
            few = f" ({seeds} seed{'s' * (seeds > 1)})" if seeds != 5 else ""
            yield f"| {said} | {model.removesuffix(': ') or 'hybrid'}{few} | {' | '.join(cells)} |"


def by_name(figures: Figures, start: str) -> Iterable[str]:
    """Recall of each name held out, ± largest less smallest over seeds, at each budget; of a line and of a feature."""
    names = _groups(figures, "", start, "recall", "_b1")
    yield f"| {PROTOCOLS[start]} | 0.1 % | 1 % | 5 % | logistic regression, 1 % | best feature, 1 % |"
    yield "|---" * 6 + "|"
    for name in names:
        own = [figures.get(f"{start}_recall_{name}_{budget}") for budget in BUDGETS]
        trivial = [figures.get(f"{model}{start}_recall_{name}_b1") for model in MODELS[1:3]]
        cells = [_with_spread(each) if each else "-" for each in own]
        cells += [f"{each['value']:.3f}" if each else "-" for each in trivial]
        yield f"| {name.replace('_', ' ')} | {' | '.join(cells)} |"


def resampling(figures: Figures) -> Iterable[str]:
    """A row per way of resampling."""
    headings = {
        "family_macro_f1_seen": "family macro-F1, seen",
        "family_macro_f1_held_out": "family macro-F1, held out",
        "recall_seen": "recall, seen",
        "recall_held_out": "recall, held out",
        "false_positives": "false positives",
    }
    yield f"| resampling | {' | '.join(headings.values())} |"
    yield "|---" * (1 + len(headings)) + "|"
    for method in ("none", "class_weights", "smote", "smotenc"):
        found = [figures.get(f"resampling_{method}_{heading}_b1") for heading in headings]
        if all(found):
            cells = [_with_spread(each) for each in found if each]
            yield f"| {method.replace('_', ' ')} | {' | '.join(cells)} |"


def _with_spread(figure: Mapping[str, Any]) -> str:
    spread = f" ± {figure['spread']:.3f}" if figure["seeds"] > 1 else ""
    return f"{figure['value']:.3f}{spread}"


def _cell(figures: Figures, model: str, start: str, what: str, each: tuple[str, ...], budget: str = "") -> str:
    values = [_mean(figures, model, start, what, f"_{one}{budget}" if one else "") for one in each]
    return " / ".join("-" if value is None else _said(value, what) for value in values)


def _said(value: float, what: str) -> str:
    return f"{value / 1000:.1f}" if what == "alerts_per_day" else f"{value:.3f}".removeprefix("0")


def _mean(figures: Figures, model: str, start: str, what: str, end: str) -> float | None:
    """A figure, or the mean of it over the names held out, which stand before the budget."""
    if start not in HELD_OUT:
        found = figures.get(f"{model}{start}_{what}{end}")
        return found["value"] if found else None
    *prevalence, budget = end.split("_")[1:] or [""]
    stem, tail = "_".join([what, *prevalence]), f"_{budget}" if budget else ""
    names = _groups(figures, model, start, stem, tail)
    each = [figures[f"{model}{start}_{stem}_{name}{tail}"]["value"] for name in names]
    return float(np.mean(each)) if each else None


def _groups(figures: Figures, model: str, start: str, what: str, end: str) -> list[str]:
    head = f"{model}{start}_{what}_"
    inner = (name[len(head) : len(name) - len(end)] for name in figures if name.startswith(head) and name.endswith(end))
    return sorted(name for name in inner if name)


if __name__ == "__main__":
    main()
