"""A failed check stops the pipeline and says which rows."""

import numpy as np
import pytest

from netwarden.errors import DataCheckError, SchemaError
from netwarden.evaluation.checks import require_passed, run_checks
from netwarden.params import ValidateParams
from tests.fixtures.toy import make_table, with_column

PARAMS = ValidateParams(max_missing_share=0.3)


@pytest.fixture
def table():
    """Labels follow the features, and no test row repeats a training row."""
    table = make_table(4000, seed=3)
    size = np.array(table.arrow["bytes"])
    return with_column(table, "split", np.where(size % 5 == 0, "test", "train").tolist())


def failures(table, schema, params=PARAMS):
    return {check.name: check for check in run_checks(table, schema, params) if not check.passed}


def test_sound_data_passes_every_check(table, schema):
    checks = run_checks(table, schema, PARAMS)
    assert [check.name for check in checks] == [
        "columns",
        "duplicates",
        "missing_values",
        "out_of_range",
        "rows_per_class",
        "label_conflicts",
        "train_test_overlap",
        "leak_columns",
        "near_duplicates",
        "telling_identifiers",
        "separating_features",
        "constant_features",
    ]
    require_passed(checks, schema)


def test_a_value_out_of_range_is_refused_with_file_and_line(table, schema):
    size = np.array(table.arrow["bytes"]).copy()
    size[6] = -1
    checks = run_checks(with_column(table, "bytes", size), schema, PARAMS)
    with pytest.raises(DataCheckError, match=r"out_of_range: 1 found, 0 allowed: .*bytes; first rows: toy\.csv:7"):
        require_passed(checks, schema)


def test_a_category_outside_a_closed_list_is_refused(table, schema):
    columns = tuple(
        column.model_copy(update={"open": False, "categories": ("http", "dns")}) if column.name == "service" else column
        for column in schema.columns
    )
    closed = schema.model_copy(update={"columns": columns})
    assert failures(table, closed)["out_of_range"].found == table.arrow["service"].to_pylist().count("smtp")


def test_too_many_missing_values_are_refused(table, schema):
    found = failures(table, schema, ValidateParams(max_missing_share=0.1))["missing_values"]
    assert found.found == table.arrow["rate"].null_count
    assert "rate (1" in found.what


def test_a_row_that_is_in_the_store_twice_is_refused(table, schema):
    ids = table.arrow["row_id"].to_pylist()
    ids[9] = ids[4]
    assert failures(with_column(table, "row_id", ids), schema)["duplicates"].rows == ("toy.csv:10",)


def test_a_missing_column_is_refused_before_anything_else_is_checked(table, schema):
    bare = type(table)(table.arrow.drop_columns(["rate"]), "toy")
    with pytest.raises(DataCheckError, match=r"1 of 1 checks failed .* missing or of another type: rate"):
        require_passed(run_checks(bare, schema, PARAMS), schema)


def test_equal_features_with_different_labels_are_refused(table, schema):
    labels = table.arrow["label"].to_pylist()
    features = list(zip(*(table.arrow[name].to_pylist() for name in ("bytes", "rate", "service")), strict=True))
    twin = next(row for row, values in enumerate(features) if features.count(values) == 2)
    labels[twin] = "satan"
    assert failures(with_column(table, "label", labels), schema)["label_conflicts"].found == 1


def test_rows_in_training_and_test_files_are_refused(table, schema):
    splits = ["test" if row % 2 else "train" for row in range(len(table))]
    assert failures(with_column(table, "split", splits), schema)["train_test_overlap"].found > 50


def test_where_equal_rows_are_separate_events_neither_conflicts_nor_overlap_are_faults(table, schema):
    separate = schema.model_copy(update={"duplicates": "keep"})
    twins = with_column(table, "split", ["test" if row % 2 else "train" for row in range(len(table))])
    for name in ("bytes", "rate"):
        twins = with_column(twins, name, [1] * len(table))
    found = {check.name: check for check in run_checks(twins, separate, PARAMS)}
    assert found["train_test_overlap"].found == found["label_conflicts"].found == 0
    assert "different labels: 3, which is no fault where equal rows" in found["label_conflicts"].what


def test_a_feature_that_tells_the_label_all_by_itself_is_refused(table, schema):
    told = np.where(np.array(table.arrow["label"].to_pylist()) == "benign", 1.0, 2.0)
    what = failures(with_column(table, "rate", told), schema)["leak_columns"].what
    assert "rate (ROC AUC 1.0000); made from the truth, such a column gets `role: leak`" in what


def test_a_split_without_attacks_is_refused(table, schema):
    labels = np.array(table.arrow["label"].to_pylist(), dtype=object)
    labels[np.array(table.arrow["split"].to_pylist()) == "test"] = "benign"
    assert "test has 0 attack" in failures(with_column(table, "label", labels), schema)["rows_per_class"].what


def test_faults_declared_in_the_schema_pass_and_one_more_fails(table, schema):
    size = np.array(table.arrow["bytes"]).copy()
    size[:3] = [-5, -6, -7]
    broken = with_column(table, "bytes", size)
    assert not failures(broken, schema.model_copy(update={"faults": {"out_of_range": 3}}))
    assert failures(broken, schema.model_copy(update={"faults": {"out_of_range": 2}}))["out_of_range"].found == 3


def test_a_misspelt_fault_is_refused_by_name(table, schema):
    with pytest.raises(SchemaError, match=r"no check counts: \['overlap'\]; known are columns, duplicates"):
        run_checks(table, schema.model_copy(update={"faults": {"overlap": 3}}), PARAMS)
