"""How good: figures of scored rows, with the false positive budget and what came of it side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from netwarden.flows.labels import BENIGN

NOVEL = "novel"  # the answer where an alert is like no attack of training


@dataclass(frozen=True)
class Outcome:
    """Truth and detector's answer per row; all arrays are of one length.

    `predicted` is the family the detector names: benign below the threshold, `novel` where the attack is like none
    of training, `attack` where it cannot tell. `nearest` is the same of a detector that must name a family, if asked.
    """

    labels: npt.NDArray[np.str_]  # attack names, benign
    families: npt.NDArray[np.str_]
    scores: npt.NDArray[np.float64]
    alerts: npt.NDArray[np.bool_]
    predicted: npt.NDArray[np.str_]
    nearest: npt.NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def attack(self) -> npt.NDArray[np.bool_]:
        """Whether each row is an attack in truth."""
        return np.asarray(self.labels != BENIGN)

    def where(self, rows: npt.NDArray[np.bool_]) -> Outcome:
        """Only the rows marked true."""
        picked = {name: getattr(self, name)[rows] for name in ("labels", "families", "scores", "alerts", "predicted")}
        return replace(self, **picked, nearest=None if self.nearest is None else self.nearest[rows])


def measure(outcome: Outcome, seen: frozenset[str], budget: float, flows_per_day: int | None = None) -> dict[str, Any]:
    """Every figure of one set of rows, ready for JSON; null where its rows, or the flows of a day, are missing.

    `seen` holds the attack names of training; recall is given for them and for all others apart.
    """
    attack, alerts = outcome.attack, outcome.alerts
    rate = _share(alerts[~attack])
    return {
        "rows": len(outcome),
        "benign_rows": int((~attack).sum()),
        "attack_rows": int(attack.sum()),
        **_verdict_figures(attack, alerts),
        **_ranking_figures(attack, outcome.scores),
        "false_positive_budget": budget,
        "false_positive_rate": rate,
        "false_alerts_per_day": None if rate is None or flows_per_day is None else round(rate * flows_per_day),
        "family_macro_f1": _macro_f1(outcome.families, outcome.predicted),
        **(
            {} if outcome.nearest is None else {"nearest_family_macro_f1": _macro_f1(outcome.families, outcome.nearest)}
        ),
        "family_recall": _recall_by_family(outcome),
        **_recall_by_novelty(outcome, seen),
    }


def flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Figures as one level of numbers, `test.family_recall.dos`; what has no value is left out."""
    numbers: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            numbers |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            numbers[f"{prefix}{name}"] = float(value)
    return numbers


def _verdict_figures(attack: npt.NDArray[np.bool_], alerts: npt.NDArray[np.bool_]) -> dict[str, float]:
    precision, recall, f1, _ = sk.precision_recall_fscore_support(attack, alerts, average="binary", zero_division=0)
    return {
        "accuracy": float((attack == alerts).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def _ranking_figures(attack: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> dict[str, float | None]:
    if attack.all() or not attack.any():
        return {"roc_auc": None, "pr_auc": None}
    return {
        "roc_auc": float(sk.roc_auc_score(attack, scores)),
        "pr_auc": float(sk.average_precision_score(attack, scores)),
    }


def _macro_f1(families: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_]) -> float:
    """Mean F1 of the families that have rows; `novel` and `attack` are answers, not families, and count as misses."""
    names = np.unique(families)
    return float(sk.f1_score(families, predicted, labels=names, average="macro", zero_division=0))


def _recall_by_family(outcome: Outcome) -> dict[str, float | None]:
    families = sorted(set(outcome.families[outcome.attack].tolist()))
    return {family: _share(outcome.alerts[outcome.families == family]) for family in families}


def _recall_by_novelty(outcome: Outcome, seen: frozenset[str]) -> dict[str, float | int | None]:
    known = np.isin(outcome.labels, list(seen))
    facts: dict[str, float | int | None] = {}
    for name, rows in (("seen", outcome.attack & known), ("unseen", outcome.attack & ~known)):
        facts[f"recall_{name}_attacks"] = _share(outcome.alerts[rows])
        facts[f"{name}_attack_rows"] = int(rows.sum())
        facts[f"{name}_attack_names"] = len(set(outcome.labels[rows].tolist()))
        facts[f"{name}_attacks_called_novel"] = _share(outcome.predicted[rows & outcome.alerts] == NOVEL)
    return facts


def _share(marks: npt.NDArray[np.bool_]) -> float | None:
    return float(marks.mean()) if len(marks) else None
