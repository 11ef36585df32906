"""Signs that a dataset flatters its detectors: warnings with numbers, or a stop where the schema says so."""

import numpy as np
import pytest

from netwarden.errors import DataCheckError
from netwarden.evaluation.checks import require_passed, run_checks
from netwarden.params import ValidateParams
from tests.fixtures.toy import make_table, with_column

PARAMS = ValidateParams(max_missing_share=0.3)
SIGNS = ("near_duplicates", "telling_identifiers", "separating_features", "constant_features")


@pytest.fixture
def table():
    """Rows whose equal ones stand on one side of the split."""
    table = make_table(4000, seed=3)
    size = np.array(table.arrow["bytes"])
    return with_column(table, "split", np.where(size % 5 == 0, "test", "train").tolist())


def found(table, schema, params=PARAMS):
    return {check.name: check for check in run_checks(table, schema, params) if check.name in SIGNS}


def as_identifier(schema, name):
    columns = (
        column.model_copy(update={"role": "identifier"}) if column.name == name else column for column in schema.columns
    )
    return schema.model_copy(update={"columns": tuple(columns)})


def test_test_rows_that_are_nearly_training_rows_are_counted(table, schema):
    check = found(table, schema)["near_duplicates"]
    tests = table.arrow["split"].to_pylist().count("test")
    assert check.warns and check.passed
    assert f"{check.found / tests:.1%} of {tests}" in check.what and check.rows


def test_rows_a_power_of_ten_apart_are_no_near_duplicates(table, schema):
    far = 10.0 ** np.linspace(0, 300, len(table))  # each over a sixth above the one before
    spread = with_column(table, "rate", far)
    assert found(spread, schema)["near_duplicates"].found < found(table, schema)["near_duplicates"].found


def test_rows_that_a_random_split_would_part_are_counted_where_no_split_is_given(table, schema):
    drawn = schema.model_copy(update={"split": schema.split.model_copy(update={"policy": "random"})})
    assert "which a random split would part" in found(table, drawn)["near_duplicates"].what


def test_identifiers_that_tell_attacks_are_a_warning(table, schema):
    attack = np.array(table.arrow["label"].to_pylist()) != "benign"
    hosts = with_column(table, "service", np.where(attack, "10.0.0.9", "10.0.0.1").tolist())
    telling = found(hosts, as_identifier(schema, "service"))["telling_identifiers"]
    assert telling.warns and "ROC AUC 1.0000: service" in telling.what
    drawn = np.random.default_rng(0).choice(["10.0.0.1", "10.0.0.9"], len(table)).tolist()
    assert not found(with_column(table, "service", drawn), as_identifier(schema, "service"))[
        "telling_identifiers"
    ].warns


def test_an_attack_campaign_is_told_by_its_time(table, schema):
    attack = np.array(table.arrow["label"].to_pylist()) != "benign"
    later = np.arange(len(table)) + attack * 10**6
    campaign = with_column(table, "seen_at", (later * 10**6).tolist())
    assert found(campaign, schema)["telling_identifiers"].warns


def test_a_feature_that_nearly_separates_attacks_is_named(table, schema):
    attack = np.array(table.arrow["label"].to_pylist()) != "benign"
    rate = np.random.default_rng(0).normal(size=len(table)) + 3.5 * attack
    check = found(with_column(table, "rate", rate), schema)["separating_features"]
    assert check.warns and check.what.startswith("features that nearly tell attacks alone: rate (ROC AUC 0.99")


def test_a_feature_that_never_changes_is_named(table, schema):
    check = found(with_column(table, "rate", [None] * len(table)), schema, ValidateParams(max_missing_share=1))
    assert check["constant_features"].what == "features that never change: rate"


def test_a_sign_that_the_schema_declares_stops_what_has_more_of_it(table, schema):
    strict = schema.model_copy(update={"faults": {"near_duplicates": 0}})
    with pytest.raises(DataCheckError, match=r"near_duplicates: \d+ found, 0 allowed: test rows that are nearly"):
        require_passed(run_checks(table, strict, PARAMS), strict)
    lenient = schema.model_copy(update={"faults": {"near_duplicates": 4000}})
    require_passed(run_checks(table, lenient, PARAMS), lenient)


def test_without_identifiers_there_is_nothing_to_tell(table, schema):
    features_only = tuple(column for column in schema.columns if column.role != "time")
    bare = schema.model_copy(update={"columns": features_only})
    assert "there are none" in found(table, bare)["telling_identifiers"].what
