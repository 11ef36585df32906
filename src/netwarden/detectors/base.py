"""What every detector kind promises; tests/detectors runs one battery of checks over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]  # (rows, features), C order, NaN where missing, categories as integer codes
Scores = npt.NDArray[np.float64]  # (rows,), in [0, 1], higher is worse


class Detector(Protocol):
    """Matrix to score. Immutable once fitted; safe to call from several threads."""

    @property
    def kind(self) -> str: ...

    @property
    def families(self) -> tuple[str, ...]:
        """Attack families that the family head tells apart; empty: the head is off, families are null."""
        ...

    def score(self, matrix: Matrix) -> Scores:
        """Evidence of attack per row, not yet calibrated."""
        ...

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index into `families` per row. Called only on rows at or above the threshold."""
        ...

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """Whether the evidence per row is of a kind seen in training (else the verdict is `novel`)."""
        ...

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """(rows, features + 1): additive share of each feature in the margin; the last column is the base."""
        ...

    def save(self, folder: Path) -> None:
        """Write model files (never pickles) into an existing folder."""
        ...


class DetectorKind(Protocol):
    """How one kind is fitted and loaded; kinds.py lists them by name."""

    @property
    def name(self) -> str: ...

    def fit(
        self,
        matrix: Matrix,
        labels: npt.NDArray[np.int8],
        families: npt.NDArray[np.object_],
        categorical: tuple[bool, ...],
        params: dict[str, Any],
        seed: int,
        threads: int,
    ) -> Detector:
        """Detector fitted on rows with labels (0 benign, 1 attack) and family names.

        Raises TrainingError for a single class or too few rows.
        """
        ...

    def load(self, folder: Path, threads: int) -> Detector:
        """Detector from files whose hashes were already verified."""
        ...
