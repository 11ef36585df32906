"""How far flows have moved from those that a bundle remembers."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from netwarden.detectors.bundle import load_bundle
from netwarden.detectors.reference import describe_training
from netwarden.errors import BundleError, InputError
from netwarden.evaluation.drift import SCORE, describe_drift, measure_drift
from tests.fixtures.bundles import made_up_flows
from tests.fixtures.data import ROOT
from tests.fixtures.toy import with_column


@pytest.fixture(scope="module")
def later(nsl_schema):
    """Flows as the bundle was trained on, from another draw."""
    return made_up_flows(nsl_schema, 3000, seed=2)


def by_name(bundle, table, against="all"):
    return {each.name: each for each in measure_drift(bundle, table, against)}


def changed(table, name, change):
    return with_column(table, name, [change(value) for value in table.arrow.column(name).to_pylist()])


def test_every_feature_and_the_score_of_the_same_traffic_are_stable(bundle, later):
    found = measure_drift(bundle, later)
    assert {each.name for each in found} == {*bundle.preprocessor.names, SCORE}
    assert {each.verdict for each in found} == {"stable"}


def test_numbers_that_moved_come_first_with_the_bin_that_moved_most(bundle, later):
    found = measure_drift(bundle, changed(later, "src_bytes", lambda value: value * 5))
    assert (found[0].name, found[0].verdict) == ("src_bytes", "drifted")
    assert [each.psi for each in found] == sorted((each.psi for each in found), reverse=True)
    assert describe_drift(found, top=1).splitlines()[1].endswith(f"src_bytes: {found[0].most}")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("service", "quantum", "unknown was 0.0%, is 100.0%"),
        ("protocol_type", None, "missing was 0.0%, is 100.0%"),
        ("duration", None, "missing was 0.0%, is 100.0%"),
        ("src_bytes", 10**9, "is 100.0%"),
    ],
)
def test_unknown_categories_missing_values_and_numbers_beyond_all_of_training_are_drift(
    bundle, later, name, value, what
):
    found = by_name(bundle, changed(later, name, lambda _: value))[name]
    assert found.verdict == "drifted" and found.most.endswith(what)


def test_a_rare_value_is_no_drift_whether_it_comes_or_not(bundle, later):
    matrix = bundle.preprocessor.transform(later.arrow)
    at = bundle.preprocessor.names.index("num_shells")
    matrix[:, at] = 0
    matrix[:3, at] = 2
    attack, scores = np.zeros(len(matrix), np.int8), np.full(len(matrix), 0.5)
    remembers = replace(bundle, reference=describe_training(matrix, attack, scores, scores, bundle.preprocessor))
    never = with_column(later, "num_shells", np.zeros(len(later), np.int64))
    assert by_name(remembers, never)["num_shells"].psi < 0.01


def test_traffic_without_attacks_is_compared_with_the_benign_flows_of_training(bundle, later):
    calm = replace(later, arrow=later.arrow.filter(pa.compute.equal(later.arrow.column("family"), "benign")))
    assert by_name(bundle, calm)[SCORE].verdict == "drifted"
    assert by_name(bundle, calm, "benign")[SCORE].verdict == "stable"


def test_a_small_sample_says_that_it_cannot_tell(bundle, later):
    found = measure_drift(bundle, later.slice(0, 60))
    assert {each.verdict for each in found} == {"too few flows to tell"}


def test_what_cannot_be_compared_is_refused(bundle, later):
    with pytest.raises(InputError, match="no flows to measure drift on"):
        measure_drift(bundle, later.slice(0, 0))
    with pytest.raises(BundleError, match="remembers nothing of benign flows"):
        measure_drift(load_bundle(ROOT / "tests" / "data" / "bundle-v1"), later, "benign")
