"""Random forest (Breiman 2001), fitted by scikit-learn: one for attack or benign, one for the family of an attack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwarden.detector_params import RandomForestParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.forest import VotingTrees, fit_votes, load_votes


@dataclass(frozen=True)
class RandomForestKind:
    """Fits and loads random forests."""

    name: str = "random_forest"
    section: str = "random_forest"

    def fit(self, rows: FitRows, params: RandomForestParams, seed: int, threads: int) -> VotingTrees:
        """Forest fitted on rows. Raises TrainingError for a single class or too few rows."""
        rows.require_classes("a random forest")
        return fit_votes(self.name, rows, unfitted_forest(params, seed, threads), params.n_estimators, threads)

    def load(self, folder: Path, threads: int) -> VotingTrees:
        """Forest that `save` wrote."""
        return load_votes(self.name, folder, threads)


def unfitted_forest(params: RandomForestParams, seed: int, threads: int) -> Any:
    """scikit-learn's forest classifier; 0 threads are all cores."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415 - serving never fits

    return RandomForestClassifier(
        n_estimators=params.n_estimators,
        max_depth=params.max_depth,
        min_samples_leaf=params.min_samples_leaf,
        random_state=seed,
        n_jobs=threads or -1,
    )
