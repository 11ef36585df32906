"""One decision tree (CART), fitted by scikit-learn: the baseline that a person can read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netwarden.detector_params import DecisionTreeParams
from netwarden.detectors.base import FitRows
from netwarden.detectors.forest import VotingTrees, fit_votes, load_votes


@dataclass(frozen=True)
class DecisionTreeKind:
    """Fits and loads single trees."""

    name: str = "decision_tree"
    section: str = "decision_tree"

    def fit(self, rows: FitRows, params: DecisionTreeParams, seed: int, threads: int) -> VotingTrees:
        """Tree fitted on rows, and another on attacks for their family.

        Raises TrainingError for a single class or too few rows.
        """
        from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415 - serving never fits

        rows.require_classes("a decision tree")
        tree = DecisionTreeClassifier(
            max_depth=params.max_depth, min_samples_leaf=params.min_samples_leaf, random_state=seed
        )
        return fit_votes(self.name, rows, tree, 1, threads)

    def load(self, folder: Path, threads: int) -> VotingTrees:
        """Tree that `save` wrote."""
        return load_votes(self.name, folder, threads)
