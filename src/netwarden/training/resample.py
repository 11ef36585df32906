"""Grow rare families with synthetic rows, for fitting only: SMOTE, or SMOTENC where some columns are categories."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden import logs
from netwarden.detectors.base import Matrix
from netwarden.settings import ResampleParams

_log = logs.get(__name__)
_MISSING_CODE = -2.0  # stands for a missing category while neighbours are sought; -1 is an unknown one


def grow_families(
    matrix: Matrix,
    families: npt.NDArray[np.str_],
    categorical: tuple[bool, ...],
    params: ResampleParams,
    seed: int,
) -> tuple[Matrix, npt.NDArray[np.str_]]:
    """The rows given, in their order, and after them synthetic ones of families that are rare.

    A family smaller than `target_share` of the largest grows to that share. A missing number counts as its column's
    median while neighbours are sought, so synthetic rows have no missing numbers; the given rows keep theirs.
    """
    targets = {} if params.method == "none" else _targets(families, params)
    if not targets:
        return matrix, families
    # Neighbours are sought within a family, so only growing families take part; one row of another family stands
    # first because the library wants two classes.
    other = np.flatnonzero(~np.isin(families, list(targets)))[:1]
    rows = np.concatenate([other, np.flatnonzero(np.isin(families, list(targets)))])
    marks = np.asarray(categorical)
    grown, names = _sampler(targets, families, marks, params, seed).fit_resample(
        _without_missing(matrix, marks)[rows], families[rows]
    )
    synthetic = np.asarray(grown[len(rows) :], np.float32)
    synthetic[:, marks] = np.where(synthetic[:, marks] == _MISSING_CODE, np.nan, synthetic[:, marks])
    _log.info("grew rare families", extra={"rows": len(synthetic), "families": ",".join(sorted(targets))})
    return np.vstack([matrix, synthetic]), np.concatenate([families, names[len(rows) :]])


def _targets(families: npt.NDArray[np.str_], params: ResampleParams) -> dict[str, int]:
    """Rows each rare family grows to; one of a single row has no neighbour to draw towards."""
    names, counts = np.unique(families, return_counts=True)
    goal = int(counts.max() * params.target_share)
    return {str(name): goal for name, count in zip(names, counts, strict=True) if 1 < count < goal}


def _sampler(
    targets: dict[str, int],
    families: npt.NDArray[np.str_],
    categorical: npt.NDArray[np.bool_],
    params: ResampleParams,
    seed: int,
) -> Any:
    from imblearn.over_sampling import SMOTE, SMOTENC  # noqa: PLC0415 - takes seconds, and nothing may need growing

    smallest = min(int((families == name).sum()) for name in targets)
    facts = {
        "sampling_strategy": targets,
        "k_neighbors": min(params.neighbours, smallest - 1),
        "random_state": seed,
    }
    mixed = categorical.any() and not categorical.all()
    if params.method == "smotenc" and mixed:
        return SMOTENC(categorical_features=np.flatnonzero(categorical).tolist(), **facts)
    return SMOTE(**facts)


def _without_missing(matrix: Matrix, categorical: npt.NDArray[np.bool_]) -> Matrix:
    if not np.isnan(matrix).any():
        return matrix
    some = ~np.isnan(matrix).all(axis=0)
    filler = np.where(categorical, _MISSING_CODE, 0.0)
    numeric = some & ~categorical
    filler[numeric] = np.nanmedian(matrix[:, numeric], axis=0)
    return np.where(np.isnan(matrix), filler, matrix).astype(np.float32)
