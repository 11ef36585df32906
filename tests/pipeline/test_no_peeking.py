"""Labels of test rows have no part in anything before `evaluate`, and each look at them leaves a line."""

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.evaluation.looks import PAGE
from netwarden.params import EvaluateParams, Params, TrainParams
from netwarden.settings import Settings
from netwarden.stages import evaluate, train, transform, validate
from netwarden.stages.workspace import write_flows
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(
    train=TrainParams(threads=1, detector="boosted_trees", false_positive_budget=0.05),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
    evaluate=EvaluateParams(permutation_rows=0),
)


def run_stages(workspace, flows, params=PARAMS):
    """Bytes of everything that the stages before `evaluate` wrote, and of what it wrote."""
    (workspace / ".git").mkdir(parents=True)  # enough for looks; nothing here runs git
    settings = Settings(workspace=workspace, home=workspace / "data", datasets=workspace)
    write_flows(settings, flows.arrow, make_schema())
    for stage in (validate, transform, train, evaluate):
        stage.run(settings, params)
    files = [path for path in sorted(settings.pipeline_dir.rglob("*")) if path.is_file()]
    contents = {path.relative_to(settings.pipeline_dir).as_posix(): path.read_bytes() for path in files}
    return settings, {name: data for name, data in contents.items() if not name.startswith("ingest/")}


@pytest.fixture
def flows():
    """Flows in which the rate tells most attacks."""
    made = make_table(4000, seed=5)
    attack = np.array(made.arrow["label"].to_pylist()) != "benign"
    return with_column(made, "rate", np.random.default_rng(1).normal(size=len(made)) + 3 * attack)


@pytest.mark.parametrize("kind", ["boosted_trees", "hybrid"])
def test_shuffled_test_labels_change_nothing_before_evaluate(kind, flows, tmp_path):
    """Nothing but what `validate` counts in the report that no stage reads."""
    params = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"detector": kind})})
    tests = np.array(flows.arrow["split"].to_pylist()) == "test"
    order = np.arange(len(flows))
    order[tests] = np.random.default_rng(0).permutation(order[tests])
    shuffled = flows
    for name in ("label", "family"):
        shuffled = with_column(shuffled, name, np.array(flows.arrow[name].to_pylist())[order].tolist())
    settings, before = run_stages(tmp_path / "a", flows, params)
    other, after = run_stages(tmp_path / "b", shuffled, params)
    changed = {name for name in before | after if before.get(name) != after.get(name)} - {"validate/report.json"}
    assert {"transform/training.npz", "train/bundle/bundle.json"} <= set(before)
    assert {name.split("/")[0] for name in changed} == {"evaluate"}
    assert "evaluate/metrics.json" in changed
    pages = [(each.workspace / PAGE).read_text() for each in (settings, other)]
    assert pages[0] != pages[1] and all(page.count(f"| {PARAMS.ingest.dataset} | bundle ") == 1 for page in pages)


def test_evaluating_again_looks_no_second_time(flows, tmp_path):
    settings, _ = run_stages(tmp_path / "a", flows)
    page = (settings.workspace / PAGE).read_text()
    evaluate.run(settings, PARAMS)
    assert (settings.workspace / PAGE).read_text() == page
