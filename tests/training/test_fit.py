"""A bundle is made from training rows only, each kind of row for its own purpose."""

from dataclasses import replace

import numpy as np
import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.bundle import TrainingFacts
from netwarden.errors import TrainingError
from netwarden.evaluation.split import assign_parts
from netwarden.params import Params, ResampleParams, TrainParams, TransformParams
from netwarden.training.fit import fit_bundle
from netwarden.training.rows import load_training_rows, prepare, training_hash
from tests.fixtures.toy import make_schema, make_table, with_column

PARAMS = Params(
    transform=TransformParams(),
    train=TrainParams(threads=1, false_positive_budget=0.05, resample=ResampleParams(target_share=0.2)),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
)


def trained(folder, flows, schema, params=PARAMS):
    parts = assign_parts(flows, schema, params.transform)
    preprocessor, rows = prepare(flows, parts, schema)
    facts = TrainingFacts(dataset="toy", data_hash=training_hash(flows, parts))
    return fit_bundle(folder, rows, preprocessor, schema, params, facts)


@pytest.fixture
def schema():
    return make_schema()


@pytest.fixture
def flows():
    """Flows in which the rate tells most attacks."""
    flows = make_table(4000, seed=5)
    attack = np.array(flows.arrow["label"].to_pylist()) != "benign"
    return with_column(flows, "rate", np.random.default_rng(1).normal(size=len(flows)) + 3 * attack)


def test_the_bundle_is_the_same_whatever_the_test_rows_are(flows, schema, tmp_path):
    whole = trained(tmp_path / "whole", flows, schema)
    tests = np.array(flows.arrow["split"].to_pylist()) == "test"
    few = replace(flows, arrow=flows.arrow.filter(~tests | (np.cumsum(tests) <= 3)))
    labels = np.array(flows.arrow["label"].to_pylist(), dtype=object)
    labels[tests] = np.random.default_rng(0).permutation(labels[tests])
    shuffled = with_column(flows, "label", labels.tolist())
    assert trained(tmp_path / "few", few, schema).bundle_id == whole.bundle_id
    assert trained(tmp_path / "shuffled", shuffled, schema).bundle_id == whole.bundle_id


def test_the_preprocessor_knows_only_categories_of_rows_to_fit_on(flows, schema):
    parts = assign_parts(flows, schema, PARAMS.transform)
    service = np.array(flows.arrow["service"].to_pylist(), dtype=object)
    service[parts == "threshold"] = "gopher"
    preprocessor, rows = prepare(with_column(flows, "service", service.tolist()), parts, schema)
    assert "gopher" not in preprocessor.columns[2].categories
    assert (rows.part("threshold").matrix[:, 2] == -1).all()


def test_every_row_serves_one_purpose_and_synthetic_rows_serve_only_fitting(flows, schema, tmp_path):
    facts = trained(tmp_path / "bundle", flows, schema).manifest
    training = np.array(flows.arrow["split"].to_pylist()) == "train"
    assert sum(facts.training.rows.values()) == training.sum()
    assert facts.calibration.rows == facts.training.rows["calibration"]
    assert facts.threshold.rows < facts.training.rows["threshold"]  # its benign rows
    assert facts.threshold.realised <= facts.threshold.budget == 0.05
    assert facts.training.metrics["roc_auc"] > 0.9
    assert "false_alerts_per_day" not in facts.training.metrics  # nobody has said yet how many flows a day has
    assert facts.training.params["train"]["resample"]["method"] == "smotenc"


@pytest.mark.parametrize("kind", ["boosted_trees", "hybrid"])
def test_editing_xgb_classifier_changes_the_bundle(flows, schema, tmp_path, kind):
    own = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"detector": kind})})
    deeper = own.model_copy(update={"xgb_classifier": XgbClassifierParams(n_estimators=5, max_depth=2)})
    ids = {
        trained(tmp_path / str(number), flows, schema, params).bundle_id for number, params in enumerate((own, deeper))
    }
    assert len(ids) == 2


def test_a_budget_of_alerts_a_day_is_one_of_the_days_flows(flows, schema, tmp_path):
    train = PARAMS.train.model_copy(update={"alerts_per_day": 20_000})
    evaluate = PARAMS.evaluate.model_copy(update={"flows_per_day": 200_000})
    facts = trained(
        tmp_path / "bundle", flows, schema, PARAMS.model_copy(update={"train": train, "evaluate": evaluate})
    )
    assert facts.manifest.threshold.budget == 0.1


def test_training_rows_survive_the_way_over_disk(flows, schema, tmp_path):
    parts = assign_parts(flows, schema, PARAMS.transform)
    _, rows = prepare(flows, parts, schema)
    rows.save(tmp_path / "rows.npz")
    again = load_training_rows(tmp_path / "rows.npz")
    assert np.array_equal(again.matrix, rows.matrix, equal_nan=True)
    assert (again.families == rows.families).all()
    assert (again.attack == rows.attack).all()


def test_rows_without_attacks_cannot_train(flows, schema, tmp_path):
    calm = with_column(with_column(flows, "label", ["benign"] * len(flows)), "family", ["benign"] * len(flows))
    with pytest.raises(TrainingError, match="0 attack rows"):
        trained(tmp_path / "bundle", calm, schema)
