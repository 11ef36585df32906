"""Forms of the hybrid compared inside the lab's training days: which one params.json has, and what another day buys.

    python benchmarks/bench_forms_lab.py [--draws 2] [--forms default params.json ...]

Days 4 and 5 are left out, so that no row that sets a threshold or tests has a say in the form. Each turn fits on two
of the three days, without a quarter of the attack names and, of names that several tools play, without a quarter of
these tools; benign rows of the third day set the thresholds. It measures recall of the names left out and of the tools
left out, wherever they are, and of what the third day has in common with the other two. `b01` is the mean over three
thresholds around 0.1 %, which some sixteen benign rows decide.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from bench_forms import NO_HEAD, ROOT, recall_by_name
from figures import record

sys.path.insert(0, str(ROOT))
from netwarden.detector_params import HybridParams, XgbClassifierParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.kinds import detector_kind
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.schema import FAMILY, LABEL, SOURCE_FILE
from netwarden.lab.days import load_days
from netwarden.params import load_params
from netwarden.settings import Settings

DAYS = ("day-1", "day-2", "day-3")
BUDGETS = {"b01": (0.0005, 0.001, 0.002), "b1": (0.01,), "b5": (0.05,)}  # short name: shares that are averaged
QUARTERS = 4
LESS = "params.json, fitted on one day"

Marks = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Days:
    """Rows of the three days. `played`: attack name and tool, as one text."""

    rows: FitRows
    day: Texts
    played: Texts


@dataclass(frozen=True)
class Turn:
    """Rows that fit, benign ones that set the thresholds, and attacks that judge, by what is unknown of them."""

    fit: Marks
    quiet: Marks
    judging: dict[str, Marks]


def main() -> None:
    """Measure, print and append to results/forms_lab.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2, help="of the quarters; twelve turns each")
    parser.add_argument("--forms", nargs="+", choices=[*forms(), LESS], default=[*forms(), LESS])
    given, known = parser.parse_args(), forms()
    days = read_days()
    turns = [turn for draw in range(given.draws) for turn in turns_of(days, draw)]
    for name in given.forms:
        kind, params = known["params.json" if name == LESS else name]
        found = [judge(days, less(days, turn) if name == LESS else turn, kind, params) for turn in turns]
        for figure in found[0]:
            each = [one[figure] for one in found]
            record("forms_lab", f"{name}: {figure}", float(np.mean(each)), "", each=each, form=name, turns=len(turns))


def forms() -> dict[str, tuple[str, Any]]:
    """Kind and parameters by name: of params.json, what differs from them in trees or novelty, and the default."""
    chosen = load_params(ROOT / "params.json").hybrid

    def trees(**changed: float) -> tuple[str, HybridParams]:
        return "hybrid", chosen.model_copy(update={"trees": chosen.trees.model_copy(update=changed)})

    def novelty(weight: float) -> tuple[str, HybridParams]:
        return "hybrid", chosen.model_copy(update={"novelty_weight": weight})

    return {
        "params.json": ("hybrid", chosen),
        "default": ("hybrid", HybridParams()),
        "boosted_trees": ("boosted_trees", XgbClassifierParams()),
        "3 boosters of 50 trees": trees(boosters=3, n_estimators=50),
        "6 boosters of 25 trees": trees(boosters=6, n_estimators=25),
        "4 boosters of 100 trees": trees(boosters=4, n_estimators=100),
        "70% of the features": trees(feature_share=0.7),
        "depth 8": trees(max_depth=8),
        "depth 4": trees(max_depth=4),
        "novelty counts fully": novelty(1.0),
        "novelty counts for nothing": novelty(0.0),
    }


def read_days() -> Days:
    """The training days that come along, with the features that params.json leaves."""
    with TemporaryDirectory() as home:
        whole = load_days(Settings(workspace=ROOT, home=Path(home), datasets=Path(home)))
    day = np.asarray(pc.utf8_slice_codeunits(whole.table.arrow[SOURCE_FILE], 0, len(DAYS[0])).to_pylist(), str)
    among = np.isin(day, DAYS)
    table = replace(whole.table, arrow=whole.table.arrow.filter(among))
    given = load_params(ROOT / "params.json").transform
    preprocessor = fit_preprocessor(table, whole.schema, given.features, given.leave_out)
    labels, families, tools = (
        np.asarray(pc.fill_null(table.arrow[name], "").to_pylist(), str) for name in (LABEL, FAMILY, "tool")
    )
    rows = FitRows.of(preprocessor.transform(table.arrow), labels, families, preprocessor.categorical)
    return Days(rows, day[among], np.char.add(np.char.add(labels, " by "), tools))


def turns_of(days: Days, draw: int) -> Iterator[Turn]:
    """Twelve turns: each quarter of the names and of the tools unknown, on each day."""
    rows, attack = days.rows, days.rows.attack == 1
    for names, tools in _quarters(days, draw):
        unknown = attack & np.isin(rows.labels, names)
        left_out = attack & np.isin(days.played, tools) & ~unknown
        for day in DAYS:
            today = days.day == day
            fit = ~today & ~unknown & ~left_out
            shown = attack & np.isin(days.played, days.played[fit])
            other_tool = left_out & np.isin(rows.labels, rows.labels[fit])
            yield Turn(fit, today & ~attack, {"unknown": unknown, "other_tool": other_tool, "known": shown & today})


def less(days: Days, turn: Turn) -> Turn:
    """The same turn, fitted on the first of its two days; what judges is the same."""
    return replace(turn, fit=turn.fit & (days.day == np.unique(days.day[turn.fit])[0]))


def judge(days: Days, turn: Turn, kind: str, params: Any) -> dict[str, float]:
    """Recall by budget of what the turn left out and of what it did not."""
    quick = params.model_copy(update={"family": NO_HEAD}) if kind == "hybrid" else params  # no turn asks the head
    detector = detector_kind(kind).fit(days.rows.where(turn.fit), quick, 1, 1)
    quiet = detector.score(days.rows.matrix[turn.quiet])
    found = {}
    for what, judging in turn.judging.items():
        score = detector.score(days.rows.matrix[judging])
        for short, shares in BUDGETS.items():
            alerts = [score > threshold for threshold in np.quantile(quiet, 1 - np.array(shares))]
            found[f"{what}_recall_{short}"] = float(
                np.mean([recall_by_name(days.played[judging], each) for each in alerts])
            )
    return found


def _quarters(days: Days, draw: int) -> Iterable[tuple[list[str], list[str]]]:
    """Names dealt out family by family and tools name by name, so that each quarter has some of all."""
    rng = np.random.default_rng(draw)
    rows, names, tools = days.rows, [], []
    for family in rows.family_names:
        names += rng.permutation(np.unique(rows.labels[rows.families == family])).tolist()
    for name in sorted(names):
        played = rng.permutation(np.unique(days.played[rows.labels == name])).tolist()
        tools += played if len(played) > 1 else []
    return [(names[at::QUARTERS], tools[at::QUARTERS]) for at in range(QUARTERS)]


if __name__ == "__main__":
    main()
