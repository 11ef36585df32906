"""Which rows fit, calibrate, set the threshold, validate and test."""

from dataclasses import replace

import numpy as np
import pytest

from netwarden.errors import DataCheckError, SchemaError
from netwarden.evaluation.split import assign_parts, draw
from netwarden.flows.content import row_hashes
from netwarden.flows.schema import SplitPolicy
from netwarden.params import TransformParams
from tests.fixtures.toy import with_column

PARAMS = TransformParams()
FEATURES = ["bytes", "rate", "service"]


def test_official_test_rows_are_the_files_own(table, schema):
    parts = assign_parts(table, schema, PARAMS)
    assert ((parts == "test") == (np.array(table.arrow["split"].to_pylist()) == "test")).all()


def test_held_out_parts_have_their_share_in_every_family(table, schema):
    parts = assign_parts(table, schema, PARAMS)
    families = np.array(table.arrow["family"].to_pylist())
    for family in ("benign", "dos"):
        training = parts[(families == family) & (parts != "test")]
        for part, share in (("calibration", 0.05), ("threshold", 0.1), ("validation", 0.1)):
            assert (training == part).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("policy", ["official", "grouped_random"])
def test_rows_of_equal_features_stay_on_one_side(table, schema, policy):
    schema = schema.model_copy(update={"split": SplitPolicy(policy=policy)})
    parts = assign_parts(table, schema, PARAMS)
    rows = parts != "test" if policy == "official" else np.ones(len(parts), bool)
    groups = row_hashes(table.arrow, FEATURES)[rows]
    assert all(len(set(parts[rows][groups == group])) == 1 for group in np.unique(groups))


def test_grouped_random_tests_its_share(table, schema):
    schema = schema.model_copy(update={"split": SplitPolicy(policy="grouped_random")})
    assert (assign_parts(table, schema, PARAMS) == "test").mean() == pytest.approx(0.2, abs=0.01)


def test_dropping_test_rows_or_shuffling_all_rows_moves_no_training_row(table, schema):
    parts = assign_parts(table, schema, PARAMS)
    only_training = replace(table, arrow=table.arrow.filter(parts != "test"))
    # one test row is left, so that the official policy still finds both files
    one_test = int(np.flatnonzero(parts == "test")[0])
    kept = np.sort(np.append(np.flatnonzero(parts != "test"), one_test))
    assert len(only_training) == len(kept) - 1
    order = np.random.default_rng(0).permutation(kept)
    again = assign_parts(replace(table, arrow=table.arrow.take(order)), schema, PARAMS)
    assert (again == parts[order]).all()


def test_test_labels_move_no_row(table, schema):
    parts = assign_parts(table, schema, PARAMS)
    rng = np.random.default_rng(0)
    families = np.array(table.arrow["family"].to_pylist(), dtype=object)
    families[parts == "test"] = rng.permutation(families[parts == "test"])
    assert (assign_parts(with_column(table, "family", families.tolist()), schema, PARAMS) == parts).all()


def test_another_seed_draws_other_rows(table, schema):
    other = assign_parts(table, schema, TransformParams(seed=8))
    assert (other != assign_parts(table, schema, PARAMS)).mean() > 0.2


def test_a_flood_of_equal_rows_stays_in_training(table, schema):
    schema = schema.model_copy(update={"split": SplitPolicy(policy="grouped_random")})
    size = np.array(table.arrow["bytes"])
    flood = with_column(table, "bytes", np.where(np.arange(len(size)) < 2000, 5, size))
    flood = with_column(flood, "rate", [1.0] * len(size))
    flood = with_column(flood, "service", ["http"] * len(size))
    assert set(assign_parts(flood, schema, PARAMS)[:2000]) == {"fit"}


def test_the_time_policy_tests_the_latest_rows_and_whole_instants(table, schema):
    schema = schema.model_copy(update={"split": SplitPolicy(policy="time")})
    tests = assign_parts(table, schema, PARAMS) == "test"
    assert tests.sum() == 800
    assert tests[-800:].all()
    stamps = np.minimum(np.arange(len(table)), 3000) * 10**6
    assert (assign_parts(with_column(table, "seen_at", stamps), schema, PARAMS) == "test").sum() == 1000


def test_time_policy_without_a_time_column_is_refused(table, schema):
    schema = schema.model_copy(
        update={"split": SplitPolicy(policy="time"), "columns": [c for c in schema.columns if c.role != "time"]}
    )
    with pytest.raises(SchemaError, match="none of its columns has the role time"):
        assign_parts(table, schema, PARAMS)


def test_official_policy_with_only_the_training_file_says_so(table, schema):
    only_train = with_column(table, "split", ["train"] * len(table))
    with pytest.raises(DataCheckError, match="load both the training and the test files"):
        assign_parts(only_train, schema, PARAMS)


def test_shares_that_leave_nothing_to_fit_are_refused(table, schema):
    greedy = TransformParams(calibration_share=0.4, threshold_share=0.4, validation_share=0.4)
    with pytest.raises(DataCheckError, match="leave no rows to fit"):
        assign_parts(table, schema, greedy)


def test_floods_that_leave_few_other_rows_leave_some_of_these_to_every_part():
    groups = np.where(np.arange(1000) < 950, 7, np.arange(1000)).astype(np.uint64)
    parts = draw(groups, np.full(1000, "dos"), "fit", {"calibration": 0.1, "threshold": 0.1, "validation": 0.1}, seed=1)
    assert set(parts[:950]) == {"fit"}
    assert set(parts[950:]) == {"fit", "calibration", "threshold", "validation"}


@pytest.fixture
def by_day(table, schema):
    """The toy table as days: training files, a validation file and a test file; sources act for seconds on end."""
    splits = np.repeat(["train", "validation", "test"], [2000, 1000, 1000])
    split = SplitPolicy(policy="time", own=True, together=("service",), together_s=20)
    return with_column(table, "split", splits.tolist()), schema.model_copy(update={"split": split})


def test_days_of_a_dataset_train_validate_and_test_as_declared(by_day):
    table, schema = by_day
    parts = assign_parts(table, schema, PARAMS)
    assert set(parts[:2000]) == {"fit"} and set(parts[3000:]) == {"test"}
    drawn = parts[2000:3000]
    for part, share in (("calibration", 1 / 6), ("threshold", 1 / 3), ("validation", 1 / 2)):
        assert (drawn == part).mean() == pytest.approx(share, abs=0.05)


def test_flows_of_one_source_family_and_slice_of_time_stay_together(by_day):
    table, schema = by_day
    parts = assign_parts(table, schema, PARAMS)
    seconds = np.arange(len(parts)) // 20
    keys = list(zip(table.arrow["service"].to_pylist(), table.arrow["family"].to_pylist(), seconds, strict=True))
    sides = {
        key: {part for other, part in zip(keys, parts, strict=True) if other == key} for key in set(keys[2000:2400])
    }
    assert all(len(found) == 1 for found in sides.values())


def test_the_days_before_and_after_move_no_validation_row(by_day):
    table, schema = by_day
    parts = assign_parts(table, schema, PARAMS)
    kept = np.r_[0:1, 2000:3000, 3999:4000]
    again = assign_parts(replace(table, arrow=table.arrow.take(kept)), schema, PARAMS)
    assert (again == parts[kept]).all()


def test_splits_of_a_dataset_count_only_where_the_schema_says_so(by_day):
    table, schema = by_day
    drawn = schema.model_copy(update={"split": SplitPolicy(policy="grouped_random")})
    assert set(assign_parts(table, drawn, PARAMS)[:2000]) > {"fit", "test"}
