"""Every detector kind by name. A new kind is one file and one line here; tests/detectors then checks it."""

from __future__ import annotations

from typing import Any

from netwarden.detectors.autoencoder import AutoencoderKind
from netwarden.detectors.base import DetectorKind
from netwarden.detectors.boosted_trees import BoostedTreesKind
from netwarden.detectors.decision_tree import DecisionTreeKind
from netwarden.detectors.hybrid import HybridKind
from netwarden.detectors.isolation_forest import IsolationForestKind
from netwarden.detectors.logistic_regression import LogisticRegressionKind
from netwarden.detectors.random_forest import RandomForestKind
from netwarden.detectors.stacking import StackingKind
from netwarden.errors import ConfigError

KINDS: dict[str, DetectorKind[Any]] = {
    kind.name: kind
    for kind in (
        HybridKind(),
        BoostedTreesKind(),
        RandomForestKind(),
        StackingKind(),
        DecisionTreeKind(),
        LogisticRegressionKind(),
        IsolationForestKind(),
        AutoencoderKind(),
    )
}


def detector_kind(name: str) -> DetectorKind[Any]:
    """Kind of that name. Raises ConfigError that lists the known ones."""
    try:
        return KINDS[name]
    except KeyError:
        raise ConfigError(f"no detector kind {name!r}; known: {', '.join(sorted(KINDS))}") from None
