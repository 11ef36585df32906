"""Data behind the plots: small Arrow tables that DVC, MLflow and the portal draw alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.metrics import classification_report, precision_recall_curve, roc_curve

from netwarden.evaluation.metrics import Outcome
from netwarden.flows.labels import BENIGN

_POINTS = 200  # of a curve; more cannot be told apart on a screen
_BINS = 20


def plot_tables(outcome: Outcome) -> dict[str, pa.Table]:
    """Every plot of one set of rows, by name; curves of families that have rows."""
    return {
        "confusion": pa.table({"actual": outcome.families, "predicted": outcome.predicted}),
        "roc": _curves(outcome, _roc),
        "precision_recall": _curves(outcome, _precision_recall),
        "calibration": _calibration(outcome),
        "family_recall": _family_recall(outcome),
        "scores": _score_distribution(outcome),
    }


def class_report(outcome: Outcome) -> dict[str, Any]:
    """Precision, recall, F1 and rows per family, and their averages."""
    report: dict[str, Any] = classification_report(
        outcome.families, outcome.predicted, output_dict=True, zero_division=0
    )
    return report


def _families(outcome: Outcome) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """Name and rows of all attacks together and of each family; every one is set against the benign rows."""
    names = sorted(set(outcome.families[outcome.attack].tolist()))
    return [("all attacks", outcome.attack), *((name, outcome.families == name) for name in names)]


def _curves(outcome: Outcome, curve: Any) -> pa.Table:
    benign = ~outcome.attack
    parts = []
    for name, rows in _families(outcome):
        if benign.any() and rows.any():
            picked = benign | rows
            columns = curve(rows[picked], outcome.scores[picked])
            keep = np.unique(np.linspace(0, len(columns[0][1]) - 1, _POINTS).astype(int))
            parts.append(pa.table({label: values[keep] for label, values in columns} | {"family": [name] * len(keep)}))
    empty = pa.table({"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64()), "family": pa.array([], "str")})
    return pa.concat_tables(parts) if parts else empty


def _roc(truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> list[tuple[str, npt.NDArray[np.float64]]]:
    x, y, _ = roc_curve(truth, scores)
    return [("x", x), ("y", y)]


def _precision_recall(
    truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]
) -> list[tuple[str, npt.NDArray[np.float64]]]:
    precision, recall, _ = precision_recall_curve(truth, scores)
    return [("x", recall), ("y", precision)]


def _calibration(outcome: Outcome) -> pa.Table:
    """Mean score against the share of attacks, per bin of the score."""
    bins = np.minimum((outcome.scores * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    filled = rows > 0
    means = np.bincount(bins, outcome.scores, _BINS)[filled] / rows[filled]
    observed = np.bincount(bins, outcome.attack, _BINS)[filled] / rows[filled]
    return pa.table({"score": means, "attack_share": observed, "rows": rows[filled]})


def _family_recall(outcome: Outcome) -> pa.Table:
    families = [(name, rows) for name, rows in _families(outcome) if rows.any()]
    return pa.table(
        {
            "family": [name for name, _ in families],
            "recall": pa.array([float(outcome.alerts[rows].mean()) for _, rows in families], pa.float64()),
            "rows": pa.array([int(rows.sum()) for _, rows in families], pa.int64()),
        }
    )


def _score_distribution(outcome: Outcome) -> pa.Table:
    """Share of each family's rows per bin of the score."""
    edges = np.linspace(0, 1, _BINS + 1)
    names = [BENIGN, *sorted(set(outcome.families[outcome.attack].tolist()))]
    shares = [np.histogram(outcome.scores[outcome.families == name], edges)[0] for name in names]
    return pa.table(
        {
            "x": np.tile((edges[:-1] + edges[1:]) / 2, len(names)),
            "y": np.concatenate([counts / max(1, counts.sum()) for counts in shares]),
            "family": np.repeat(names, _BINS),
        }
    )
