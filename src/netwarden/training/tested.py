"""What a bundle made of test rows, left as the pipeline's evaluate stage leaves it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from netwarden.detectors.bundle import DetectorBundle
from netwarden.evaluation.looks import record_look
from netwarden.evaluation.metrics import measure
from netwarden.evaluation.plots import class_report, plot_tables
from netwarden.evaluation.report import outcome_of
from netwarden.flows.schema import FAMILY, LABEL
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import RESULT


def write_evaluation(
    folder: Path, judged: Any, seen: frozenset[str], bundle: DetectorBundle, flows_per_day: int, workspace: Path
) -> None:
    """Figures, plots and classes of scored test rows; `judged` has their truth, `seen` the attack names of training."""
    columns = [judged.column(name) for name in ("score", "verdict", "named", "threshold")]
    outcome = outcome_of(
        FlowTable(judged.select([LABEL, FAMILY]), bundle.schema_id), pa.Table.from_arrays(columns, schema=RESULT)
    )
    training, budget = bundle.manifest.training, bundle.manifest.threshold.budget
    figures = measure(outcome, seen, budget, flows_per_day)
    for part in ("plots", "report"):
        (folder / part).mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({"test": figures}, indent=1) + "\n", encoding="utf-8")
    for name, table in plot_tables(outcome).items():
        pacsv.write_csv(table, folder / "plots" / f"{name}.csv")
    (folder / "report" / "classes.json").write_text(json.dumps(class_report(outcome)) + "\n", encoding="utf-8")
    told = f"bundle {bundle.bundle_id}, budget {budget:g}, trained on Spark"
    record_look(workspace, datetime.now(UTC), training.git_commit, training.dataset, told, figures)
