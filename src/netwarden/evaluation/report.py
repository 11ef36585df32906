"""What a bundle makes of the test rows: outcome, importance of its features, and where it is most surely wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.metrics import roc_auc_score

from netwarden.detectors.bundle import DetectorBundle
from netwarden.errors import DataCheckError
from netwarden.evaluation.metrics import NOVEL, Outcome
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL, ROW_ID, SOURCE_FILE, SOURCE_LINE, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.flows.truth import ATTACK


def outcome_of(table: FlowTable, scored: pa.Table) -> Outcome:
    """Truth of labelled flows beside what the scorer said of them."""
    scores = scored.column("score").to_numpy()
    alerts = scores >= scored.column("threshold").to_numpy()
    nameless = pc.if_else(pc.equal(scored.column("verdict"), NOVEL), NOVEL, ATTACK)
    named = np.array(pc.coalesce(scored.column("family"), nameless).to_pylist(), dtype=str)
    labels, families = (np.asarray(table.arrow.column(name).to_pylist(), dtype=str) for name in (LABEL, FAMILY))
    return Outcome(labels, families, scores, alerts, np.where(alerts, named, BENIGN))


def subset_rows(table: FlowTable, schema: FlowSchema) -> dict[str, npt.NDArray[np.bool_]]:
    """Rows of each subset that the schema declares, a row without the value among them."""
    subsets = {}
    for name, subset in schema.subsets.items():
        values = table.arrow.column(subset.column)
        same = pc.fill_null(pc.equal(values, pa.scalar(subset.not_equal).cast(values.type)), False)
        rows = ~same.to_numpy(zero_copy_only=False).astype(bool)
        if not rows.any():
            raise DataCheckError(
                f"subset {name} of schema {schema.id} holds no test row: {subset.column} is always "
                f"{subset.not_equal}; was another file loaded?"
            )
        subsets[name] = rows
    return subsets


def importance(bundle: DetectorBundle, table: FlowTable, rows: int, seed: int) -> pa.Table:
    """Per feature: its share in what moves the detector, and what ROC AUC loses when its values are shuffled.

    On a draw of at most `rows` flows, half of them attacks. The first figure is the detector's own and exact: the
    feature's part of all contributions, by size, as the mean over kinds of evidence; all features add up to 1.
    """
    rng = np.random.default_rng(seed)
    truth = np.asarray(table.arrow.column(LABEL).to_pylist(), dtype=str) != BENIGN
    drawn = np.concatenate([rng.permutation(np.flatnonzero(side))[: rows // 2] for side in (~truth, truth)])
    matrix, attack = bundle.preprocessor.transform(table.arrow.take(drawn)), truth[drawn]
    moved = np.abs(bundle.detector.contributions(matrix)[:, :, :-1]).sum(axis=0)
    built_in = (moved / np.maximum(moved.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)).mean(axis=0)
    whole = roc_auc_score(attack, bundle.detector.score(matrix))
    lost = []
    for column in range(matrix.shape[1]):
        shuffled = matrix.copy()
        shuffled[:, column] = rng.permutation(shuffled[:, column])
        lost.append(whole - roc_auc_score(attack, bundle.detector.score(shuffled)))
    figures = pa.table({"feature": list(bundle.preprocessor.names), "built_in": built_in, "permutation": lost})
    return figures.sort_by([("built_in", "descending"), ("feature", "ascending")])


def most_wrong(table: FlowTable, outcome: Outcome, schema: FlowSchema, limit: int) -> list[dict[str, Any]]:
    """Flows the bundle is most surely wrong about, worst first, with where they came from and their features."""
    distance = np.where(outcome.attack, 1 - outcome.scores, outcome.scores)
    wrong = np.flatnonzero(outcome.attack != outcome.alerts)
    worst = wrong[np.argsort(-distance[wrong], kind="stable")][:limit]
    kept = [name for name in (SOURCE_FILE, SOURCE_LINE, *(c.name for c in schema.features)) if name in table.names]
    flows = table.arrow.select(kept).take(worst).to_pylist()
    ids = table.arrow.column(ROW_ID).take(worst).to_pylist()
    return [
        {
            "row_id": row_id.hex(),
            "label": str(outcome.labels[row]),
            "family": str(outcome.families[row]),
            "predicted": str(outcome.predicted[row]),
            "score": float(outcome.scores[row]),
            **flow,
        }
        for row, row_id, flow in zip(worst, ids, flows, strict=True)
    ]
