"""Rare families made to count, for fitting only: by weight, or grown by SMOTE (SMOTENC with categories)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from netwarden import logs
from netwarden.detectors.base import FitRows, Matrix
from netwarden.params import ResampleParams

_log = logs.get(__name__)
_MISSING_CODE = -2.0  # stands for a missing category while neighbours are sought; -1 is an unknown one


def resample(rows: FitRows, params: ResampleParams, seed: int) -> FitRows:
    """The rows with families smaller than `target_share` of the largest brought up to it, as `params.method` says.

    `class_weights` lets their rows weigh more. `smote` and `smotenc` append synthetic rows, drawn between two rows of
    one attack name, whose name they bear: what holds a name out holds out all that was made of it. A missing number
    counts as its column's median while neighbours are sought, so synthetic rows have no missing numbers.
    """
    if params.method == "none":
        return rows
    return _weighted(rows, params) if params.method == "class_weights" else _grown(rows, params, seed)


def _weighted(rows: FitRows, params: ResampleParams) -> FitRows:
    names, family, counts = np.unique(rows.families, return_inverse=True, return_counts=True)
    share = np.maximum(1.0, counts.max() * params.target_share / counts)
    weights = rows.weights * share[family].astype(np.float32)
    _log.info("weighted rare families", extra={"families": ",".join(names[share > 1].tolist())})
    return FitRows(rows.matrix, rows.labels, rows.families, rows.categorical, weights, rows.grown)


def _grown(rows: FitRows, params: ResampleParams, seed: int) -> FitRows:
    targets = _targets(rows, params)
    if not targets:
        return rows
    marks = np.asarray(rows.categorical)
    filled = _without_missing(rows.matrix, marks)
    pieces = [(name, _synthetic(filled, rows.labels, name, goal, marks, params, seed)) for name, goal in targets]
    synthetic = np.vstack([piece for _, piece in pieces]).astype(np.float32)
    synthetic[:, marks] = np.where(synthetic[:, marks] == _MISSING_CODE, np.nan, synthetic[:, marks])
    labels = np.repeat([name for name, _ in pieces], [len(piece) for _, piece in pieces])
    family = dict(zip(rows.labels.tolist(), rows.families.tolist(), strict=True))
    families = np.array([family[name] for name in labels.tolist()])
    _log.info(
        "grew rare families", extra={"rows": len(synthetic), "families": ",".join(sorted(set(families.tolist())))}
    )
    return FitRows(
        np.vstack([rows.matrix, synthetic]),
        np.concatenate([rows.labels, labels]),
        np.concatenate([rows.families, families]),
        rows.categorical,
        np.concatenate([rows.weights, np.ones(len(synthetic), np.float32)]),
        np.concatenate([rows.grown, np.ones(len(synthetic), np.bool_)]),
    )


def _targets(rows: FitRows, params: ResampleParams) -> list[tuple[str, int]]:
    """Names of rare families, and how many rows each grows to; one of a single row has no neighbour to draw towards."""
    families, counts = np.unique(rows.families, return_counts=True)
    goal = int(counts.max() * params.target_share)
    targets = []
    for family in families[counts < goal]:
        names, sizes = np.unique(rows.labels[rows.families == family], return_counts=True)
        names, sizes, alone = names[sizes > 1], sizes[sizes > 1], int((sizes == 1).sum())
        ends = np.round(np.cumsum(sizes) * (goal - alone) / max(1, sizes.sum())).astype(int)
        targets += list(zip(names.tolist(), np.diff(ends, prepend=0).tolist(), strict=True))
    return targets


def _synthetic(
    filled: Matrix,
    labels: npt.NDArray[np.str_],
    name: str,
    goal: int,
    categorical: npt.NDArray[np.bool_],
    params: ResampleParams,
    seed: int,
) -> Matrix:
    """Rows that bring an attack name up to its goal."""
    own = np.flatnonzero(labels == name)
    other = np.flatnonzero(labels != name)[:1]  # the library wants a second class
    picked = np.concatenate([other, own])
    neighbours = min(params.neighbours, len(own) - 1)
    sampler = _sampler(categorical, params.method, {1: goal}, neighbours, seed)
    grown, _ = sampler.fit_resample(filled[picked], np.minimum(np.arange(len(picked)), 1))
    return np.asarray(grown[len(picked) :], np.float32)


def _sampler(categorical: npt.NDArray[np.bool_], method: str, goal: dict[int, int], neighbours: int, seed: int) -> Any:
    from imblearn.over_sampling import SMOTE, SMOTENC  # noqa: PLC0415 - takes seconds, and nothing may need growing

    facts = {"sampling_strategy": goal, "k_neighbors": neighbours, "random_state": seed}
    if method == "smotenc" and categorical.any() and not categorical.all():
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
