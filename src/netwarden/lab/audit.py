"""`netwarden lab audit`: does the dataset ask for detection, or does something else give the attacks away?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netwarden.evaluation.split import FIT
from netwarden.flows.content import row_hashes
from netwarden.lab.audit_features import (
    Identified,
    Reason,
    Telling,
    identifiers,
    load_reasons,
    single_features,
    stack_features,
)
from netwarden.lab.audit_models import MODELS, Round, Verdicts, group_of, only, rounds, verdicts, without_strongest
from netwarden.lab.days import Days, Texts, load_days
from netwarden.params import TransformParams, load_params
from netwarden.settings import Settings

REASONS = Path("lab") / "reasons.yaml"
GROUPS = ("seen", "other tool", "unseen")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Attack:
    """One attack variant of the test day: its flows, and the recall of each model, one value per seed."""

    variant: str
    group: str
    flows: int
    recalls: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Hour:
    """One hour of the test day; alerts are means over the seeds."""

    hour: str
    benign: int
    attacks: int
    false_alerts: float
    true_alerts: float


@dataclass(frozen=True)
class Activity:
    """Benign flows of one activity on the test day, and how many of them alert (mean over the seeds)."""

    activity: str
    flows: int
    false_alerts: float


@dataclass
class Audit:
    """Everything the audit found."""

    counts: Counter[tuple[str, str]]
    seeds: int
    repeated: float = 0.0
    false_positive_rates: dict[str, tuple[float, ...]] = field(default_factory=dict)
    aucs: dict[str, tuple[float, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    attacks: list[Attack] = field(default_factory=list)
    hours: list[Hour] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    told: list[Telling] = field(default_factory=list)
    identified: list[Identified] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Telling]:
        """Features that separate an attack without being what the attack is."""
        return [telling for telling in self.told if telling.separates and not telling.why]

    def recall(self, model: str, group: str = "") -> npt.NDArray[np.float64]:
        """Mean recall over the attacks of a group (default: all), one value per seed; an attack counts once."""
        found = [attack.recalls[model] for attack in self.attacks if group in ("", attack.group)]
        return np.asarray(found, np.float64).mean(axis=0) if found else np.zeros(0)


def run_audit(settings: Settings, folder: Path | None, seeds: int, say: Say = lambda _: None) -> Audit:
    """The audit of a dataset folder (default: the one that comes along), over so many seeds.

    Models see the features that training would, by `transform` of params.json.
    """
    params = load_params(settings.workspace / "params.json").transform
    days = load_days(settings, folder, params.leave_out)
    reasons = load_reasons(settings.workspace / REASONS) if (settings.workspace / REASONS).exists() else ()
    return audit_days(days, seeds, params, reasons, say)


def audit_days(
    days: Days, seeds: int, params: TransformParams, reasons: Sequence[Reason] = (), say: Say = lambda _: None
) -> Audit:
    """The audit of some days."""
    audit = Audit(Counter(zip(days.days.tolist(), days.labels.tolist(), strict=True)), seeds)
    audit.told = single_features(days, reasons)
    audit.repeated = _repeated(days)
    found: list[tuple[Round, list[Verdicts]]] = []
    for at in rounds(days, seeds, params):
        began = time.monotonic()
        found.append((at, [*verdicts(days, at), without_strongest(days, at), _stack(days, at)]))
        if at.seed == 1:
            audit.identified = identifiers(days, at)
        say(f"seed {at.seed} of {seeds}: {time.monotonic() - began:.0f} s")
    _collect(audit, days, found, params)
    return audit


def _stack(days: Days, at: Round) -> Verdicts:
    told = only(days, at, stack_features(days))
    return Verdicts("stack only", told.seed, told.alerts, told.auc)


def _repeated(days: Days) -> float:
    """Share of the test day's attack flows that equal a flow of the training days in every feature."""
    hashes = row_hashes(days.table.arrow, days.features)
    tests = hashes[days.attack & (days.splits == "test")]
    return float(np.isin(tests, hashes[days.splits == "train"]).mean()) if len(tests) else 0.0


def _collect(audit: Audit, days: Days, found: list[tuple[Round, list[Verdicts]]], params: TransformParams) -> None:
    test = found[0][0].test
    attack, variants = days.attack[test], days.variants[test]
    alerts = {
        model: np.array([told.alerts for _, each in found for told in each if told.model == model])
        for model in _named(found)
    }
    for model, rows in alerts.items():
        audit.false_positive_rates[model] = tuple(rows[:, ~attack].mean(axis=1).tolist())
        told = [each for _, several in found for each in several if each.model == model]
        audit.aucs[model] = tuple(each.auc for each in told if each.auc is not None)
        audit.notes[model] = ", ".join(dict.fromkeys(name for each in told for name in each.note.split(", ") if name))
    groups = group_of(days, days.parts(1, params) == FIT)
    for variant in sorted(groups, key=lambda name: (GROUPS.index(groups[name]), name)):
        rows = variants == variant
        recalls = {model: tuple(each[:, rows].mean(axis=1).tolist()) for model, each in alerts.items()}
        audit.attacks.append(Attack(variant, groups[variant], int(rows.sum()), recalls))
    trees = alerts[MODELS[0]].mean(axis=0)
    audit.hours = _hours(days.hours[test], attack, trees)
    audit.activities = _activities(days.activities[test][~attack], trees[~attack])


def _named(found: list[tuple[Round, list[Verdicts]]]) -> list[str]:
    return [told.model for told in found[0][1]]


def _hours(hours: Texts, attack: npt.NDArray[np.bool_], alerts: npt.NDArray[np.float64]) -> list[Hour]:
    return [
        Hour(
            hour,
            int((~attack & (hours == hour)).sum()),
            int((attack & (hours == hour)).sum()),
            float(alerts[~attack & (hours == hour)].sum()),
            float(alerts[attack & (hours == hour)].sum()),
        )
        for hour in np.unique(hours).tolist()
    ]


def _activities(activities: Texts, alerts: npt.NDArray[np.float64]) -> list[Activity]:
    names = np.unique(activities).tolist()
    told = [Activity(name, int((activities == name).sum()), float(alerts[activities == name].sum())) for name in names]
    return sorted(told, key=lambda each: (-each.false_alerts, each.activity))
