"""Trained on the days that come along, the portal finds the attacks of the demo capture that comes along."""

import re

import pytest

from netwarden.detector_params import XgbClassifierParams
from netwarden.detectors.bundle import TrainingFacts
from netwarden.evaluation.split import assign_parts
from netwarden.flows.table import FlowTable
from netwarden.lab.days import load_days
from netwarden.settings import ResampleParams, Settings, load_params
from netwarden.training.fit import fit_bundle
from netwarden.training.rows import meter_stamp, prepare
from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, make_champion, portal_settings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The pipeline's detector with fewer and smaller trees, none of its rows made up."""
    folder = tmp_path_factory.mktemp("lab")
    params = load_params(ROOT / "params.json")
    small = {
        "train": params.train.model_copy(
            update={"detector": "boosted_trees", "threads": 2, "resample": ResampleParams(method="none")}
        ),
        "xgb_classifier": XgbClassifierParams(n_estimators=40, max_depth=6, learning_rate=0.3),
    }
    params = params.model_copy(update=small)
    days = load_days(Settings(workspace=ROOT, home=folder, datasets=folder))
    parts = assign_parts(days.table, days.schema, params.transform)
    preprocessor, rows = prepare(days.table, parts, days.schema, leave_out=params.transform.leave_out)
    stamp = meter_stamp(FlowTable(days.table.arrow, days.schema.id), days.schema)
    return fit_bundle(folder / "b", rows, preprocessor, days.schema, params, TrainingFacts(dataset="lab"), stamp)


def test_most_attacks_of_the_demo_alert_and_hardly_any_of_the_rest(bundle, tmp_path):
    settings = portal_settings(tmp_path).model_copy(update={"workspace": ROOT})
    make_champion(settings, bundle)
    with listening(settings) as portal:
        page = portal.client.get(portal.client.post("/try").headers["location"]).text
    told = re.search(r"(.*) of (.*) attack flows alert, and (.*) of (.*) benign", page)
    assert told
    found, attacks, false, benign = (int(re.sub(r"\D", "", number)) for number in told.groups())
    assert attacks > 150 and found > attacks / 2
    assert benign > 2000 and false <= 0.004 * benign, f"{found} of {attacks}, {false} of {benign}"
