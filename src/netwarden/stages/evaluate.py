"""Stage 5: how good the bundle is on rows it never saw: figures, plots, and where it is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from netwarden.detectors.bundle import load_bundle
from netwarden.evaluation.looks import record_look
from netwarden.evaluation.metrics import measure
from netwarden.evaluation.plots import class_report, plot_tables
from netwarden.evaluation.report import importance, most_wrong, outcome_of, subset_rows
from netwarden.evaluation.split import TEST
from netwarden.flows.schema import LABEL
from netwarden.params import Params
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings
from netwarden.stages.workspace import enter, output_folder, read_flows, write_json


def run(settings: Settings, params: Params) -> str:
    """Metrics of the test rows and of the schema's subsets of them, plots and reports."""
    flows, schema = read_flows(settings)
    tests = pq.read_table(settings.pipeline_dir / "transform" / "parts.parquet").column("part").to_numpy() == TEST
    table = replace(flows, arrow=flows.arrow.filter(tests))
    bundle = load_bundle(settings.pipeline_dir / "train" / "bundle")
    outcome = outcome_of(table, Scorer(bundle, settings.scoring.threads).score(table, path="evaluate"))

    seen = frozenset(flows.arrow.column(LABEL).filter(~tests).to_pylist())
    budget, flows_per_day = bundle.manifest.threshold.budget, params.evaluate.flows_per_day
    figures = {"test": measure(outcome, seen, budget, flows_per_day)}
    for name, rows in subset_rows(table, schema).items():
        figures[name] = measure(outcome.where(rows), seen, budget, flows_per_day)
    write_json(output_folder(settings, "evaluate") / "metrics.json", figures)

    plots, report = (output_folder(settings, "evaluate", name) for name in ("plots", "report"))
    for name, columns in plot_tables(outcome).items():
        pacsv.write_csv(columns, plots / f"{name}.csv")
    if params.evaluate.permutation_rows:
        drawn = importance(bundle, table, params.evaluate.permutation_rows, params.train.seed)
        pacsv.write_csv(drawn, plots / "importance.csv")
    write_json(report / "classes.json", class_report(outcome))
    write_json(report / "most_wrong.json", most_wrong(table, outcome, schema, params.evaluate.worst_rows))
    test, training = figures["test"], bundle.manifest.training
    judged = f"bundle {bundle.bundle_id}, budget {budget:g}"
    record_look(settings.workspace, datetime.now(UTC), training.git_commit, training.dataset, judged, test)
    return f"accuracy {test['accuracy']:.4f}, recall {test['recall']:.4f} on {len(table)} test rows"


if __name__ == "__main__":
    enter("evaluate", run)
