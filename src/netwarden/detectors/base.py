"""What every detector kind promises; tests/detectors runs one battery of checks over all of them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel

from netwarden.errors import TrainingError
from netwarden.flows.labels import BENIGN
from netwarden.flows.truth import ATTACK

Matrix = npt.NDArray[np.float32]  # (rows, features), C order, NaN where missing, categories as integer codes
Scores = npt.NDArray[np.float64]  # (rows,), in [0, 1], higher is worse
Hashes = npt.NDArray[np.uint64]
Part = Literal["supervised", "novelty"]  # evidence of attacks that training showed, and of flows unlike benign ones

MIN_ROWS_PER_CLASS = 10

ParamsOf_contra = TypeVar("ParamsOf_contra", bound=BaseModel, contravariant=True)


class Detector(Protocol):
    """Matrix to score. Immutable once fitted; safe to call from several threads; a row's answer depends on it alone."""

    @property
    def kind(self) -> str: ...

    @property
    def families(self) -> tuple[str, ...]:
        """Attack families that the family head tells apart; empty: the head is off, families are null."""
        ...

    @property
    def parts(self) -> tuple[Part, ...]:
        """The kinds of evidence that the score is made of."""
        ...

    def score(self, matrix: Matrix) -> Scores:
        """Evidence of attack per row, all parts as one, not yet calibrated."""
        ...

    def evidence(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """(rows, parts): what each part says, on a scale of its own. More of it never lowers the score."""
        ...

    def contributions(self, matrix: Matrix) -> npt.NDArray[np.float64]:
        """(rows, parts, features + 1): each feature's share in each part, the last the base; they add up to `evidence`.

        Exact TreeSHAP where trees speak, residuals where novelty does. Slow: for alerts, not for tables.
        """
        ...

    def known(self, matrix: Matrix) -> npt.NDArray[np.bool_]:
        """Whether each row is like the attacks of training (else the verdict is `novel`).

        Called, like `family_codes`, only on rows at or above the threshold.
        """
        ...

    def family_codes(self, matrix: Matrix) -> npt.NDArray[np.int64]:
        """Index into `families` per row. Called only on known rows, and never where the head is off."""
        ...

    def adapted(self, benign: Matrix) -> Detector:
        """The same detector with its sense of what is usual taken from these benign rows of another network.

        What was learned from attacks stays. A kind that keeps nothing about benign rows returns itself.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write model files, as many as it takes and never pickles, into an existing folder."""
        ...


class DetectorKind(Protocol[ParamsOf_contra]):
    """How one kind is fitted and loaded; kinds.py lists them by name."""

    @property
    def name(self) -> str: ...

    @property
    def section(self) -> str:
        """Section of params.json that holds its parameters."""
        ...

    def fit(self, rows: FitRows, params: ParamsOf_contra, seed: int, threads: int) -> Detector:
        """Detector fitted on rows; the same rows, parameters and seed give the same bytes on any number of threads.

        Raises TrainingError for a single class or too few rows.
        """
        ...

    def load(self, folder: Path, threads: int) -> Detector:
        """Detector from files whose hashes were already verified."""
        ...


@dataclass(frozen=True)
class FitRows:
    """Rows to fit on; all arrays are of one length, which is never changed in place."""

    matrix: Matrix
    labels: npt.NDArray[np.str_]  # attack names, benign: what a kind holds out to see how it does on unknown attacks
    families: npt.NDArray[np.str_]
    categorical: tuple[bool, ...]  # per feature
    weights: npt.NDArray[np.float32]  # how much a row counts; 1 unless classes are weighted
    grown: npt.NDArray[np.bool_]  # synthetic rows, to fit on but never to judge by

    @staticmethod
    def of(
        matrix: Matrix,
        labels: npt.NDArray[np.str_],
        families: npt.NDArray[np.str_],
        categorical: tuple[bool, ...],
    ) -> FitRows:
        """Given rows, each of which counts once."""
        rows = len(matrix)
        return FitRows(matrix, labels, families, categorical, np.ones(rows, np.float32), np.zeros(rows, np.bool_))

    def __len__(self) -> int:
        return len(self.matrix)

    @cached_property
    def attack(self) -> npt.NDArray[np.int8]:
        """0 for benign, 1 for attack."""
        return np.asarray(self.families != BENIGN, np.int8)

    @cached_property
    def groups(self) -> Hashes:
        """Hash of each row's features: equal rows belong on one side of any split."""
        bits = (self.matrix + np.float32(0)).view(np.uint32)  # + 0: the zero of either sign is one value
        mixed = np.zeros(len(bits), np.uint64)
        for column in bits.T:
            mixed = pd.util.hash_array(mixed ^ np.ascontiguousarray(column).astype(np.uint64))
        return mixed

    def where(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> FitRows:
        """Only these rows."""
        picked = {name: getattr(self, name)[rows] for name in _PER_ROW}
        return FitRows(categorical=self.categorical, **picked)

    def require_classes(self, name: str) -> None:
        """Raise TrainingError, in the name of a kind, where a class is missing or tiny."""
        attacks = int(np.count_nonzero(self.attack))
        for side, rows in (("benign", len(self) - attacks), ("attack", attacks)):
            if rows < MIN_ROWS_PER_CLASS:
                raise TrainingError(
                    f"{rows} {side} rows of {len(self)}: {name} needs at least {MIN_ROWS_PER_CLASS} benign and as many "
                    "attack rows; is the label column the right one, and are its benign names in the schema?"
                )

    @cached_property
    def family_names(self) -> tuple[str, ...]:
        """Attack families in order of name; none where labels only say that a row is an attack."""
        names = set(np.unique(self.families).tolist()) - {BENIGN}
        return () if names == {ATTACK} else tuple(sorted(names))

    def folds(self, count: int, seed: int) -> npt.NDArray[np.int64]:
        """Fold of each row, 0 to `count` - 1: equal rows together, each attack name spread evenly over all folds."""
        groups, first, inverse = np.unique(self.groups, return_index=True, return_inverse=True)
        names = np.unique(self.labels, return_inverse=True)[1][first]
        lot = pd.util.hash_array(groups ^ np.uint64(seed))
        order = np.lexsort((groups, lot, names))
        fold = np.empty(len(groups), np.int64)
        fold[order] = np.arange(len(groups)) % count
        return np.asarray(fold[inverse], np.int64)


_PER_ROW = tuple(field.name for field in fields(FitRows) if field.name != "categorical")
