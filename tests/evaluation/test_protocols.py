"""Which rows each protocol fits on and judges by."""

import numpy as np
import pyarrow as pa
import pytest

from netwarden.errors import ConfigError, DataCheckError, SchemaError
from netwarden.evaluation.protocols import PROTOCOLS, protocol_of, without_test_rows
from netwarden.evaluation.split import assign_parts
from netwarden.flows.content import row_hashes
from netwarden.flows.schema import FlowSchema, Subset
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams
from tests.fixtures.toy import with_column

PARAMS = TransformParams()


def column(table, name):
    return np.array(table.arrow.column(name).to_pylist())


def rounds(name, table, schema):
    return list(protocol_of(name).divide(table, schema, PARAMS))


def with_tools(table: FlowTable) -> FlowTable:
    """Neptune is played by two tools, smurf and rootkit by one each; one of neptune's plays smurf too."""
    labels, turn = column(table, "label"), np.arange(len(table)) % 2
    neptune = np.where(turn == 0, "hping3", "nping")
    tools = np.select([labels == "neptune", labels == "smurf", labels == "rootkit"], [neptune, "hping3", "shell"], "")
    return FlowTable(table.arrow.append_column("tool", pa.array(tools.tolist())), table.schema_id)


def test_the_official_rows_are_those_of_the_pipeline_and_subsets_are_test_rows(table, schema):
    apart = schema.model_copy(update={"subsets": {"not_http": Subset(column="service", not_equal="http")}})
    (only,) = rounds("official", table, apart)
    assert (only.parts == assign_parts(table, schema, PARAMS)).all()
    assert (only.subsets["not_http"] == ((only.parts == "test") & (column(table, "service") != "http"))).all()


def test_the_last_rows_by_time_judge(table, schema):
    (only,) = rounds("temporal", table, schema)
    assert (only.parts[-800:] == "test").all() and not (only.parts[:-800] == "test").any()


def test_rows_without_a_time_cannot_be_judged_so(table, schema):
    timeless = schema.model_copy(update={"columns": tuple(c for c in schema.columns if c.role != "time")})
    with pytest.raises(SchemaError, match="none of its columns has the role time"):
        rounds("temporal", table, timeless)


@pytest.mark.parametrize(
    "name", ["leave-family-out", "leave-attack-out", "leave-types-out", "leave-tool-out", "random"]
)
def test_only_rows_that_may_train_are_used(name, table, schema):
    tests = column(table, "split") == "test"
    for each in rounds(name, with_tools(table), schema):
        assert (each.parts[tests] == "out").all()
        assert set(each.parts[~tests]) <= {"fit", "calibration", "threshold", "validation", "test", "out"}


@pytest.mark.parametrize(
    ("name", "values", "held_out"),
    [("leave-family-out", "family", ["u2r"]), ("leave-attack-out", "label", ["neptune", "rootkit", "smurf"])],
)
def test_what_is_left_out_judges_beside_benign_rows_and_never_trains(name, values, held_out, table, schema):
    found = rounds(name, table, schema)
    assert [each.name for each in found] == held_out  # without dos too few attacks are left to train on
    training = column(table, "split") == "train"
    for each in found:
        own = column(table, values) == each.name
        assert (each.parts[own & training] == "test").all()
        judged = column(table, values)[each.parts == "test"]
        assert set(judged.tolist()) == {each.name, "benign"}
        benign = (each.parts == "test") & (column(table, "label") == "benign")
        assert (assign_parts(table, schema, PARAMS)[benign] == "validation").all()


def test_names_are_left_out_in_groups_each_once_and_known_ones_judge_beside_them(table, schema):
    found = rounds("leave-types-out", table, schema)
    labels, inner = column(table, "label"), assign_parts(table, schema, PARAMS)
    left_out = [set(labels[(each.parts == "test") & (inner == "fit")].tolist()) for each in found]
    assert sorted(name for names in left_out for name in names) == ["neptune", "rootkit", "smurf"]
    for each, names in zip(found, left_out, strict=True):
        held_out = np.isin(labels, list(names))
        assert set(each.parts[held_out & (inner != "test")].tolist()) == {"test"}
        assert (each.parts[~held_out & (inner == "validation")] == "test").all()
        assert (each.parts[~held_out & (inner == "fit")] == "fit").all()


def test_another_seed_draws_from_no_test_row(table, schema):
    drawn = schema.model_copy(update={"split": schema.split.model_copy(update={"policy": "grouped_random"})})
    left = without_test_rows(table, drawn, PARAMS)
    tests = assign_parts(table, drawn, PARAMS) == "test"
    assert column(left, "row_id").tolist() == column(table, "row_id")[~tests].tolist()
    assert without_test_rows(table, schema, PARAMS) is table


def test_a_tool_is_judged_by_the_attacks_that_other_tools_play(table, schema):
    flows = with_tools(table)
    found = {each.name: each.parts for each in rounds("leave-tool-out", flows, schema)}
    assert list(found) == ["hping3", "nping"]  # the attack of `shell` is played by no other
    labels, tools, training = (column(flows, name) for name in ("label", "tool", "split"))
    own = (tools == "hping3") & (training == "train")
    assert (found["hping3"][own & (labels == "neptune")] == "test").all()
    assert (found["hping3"][own & (labels == "smurf")] == "out").all()


def test_tools_must_be_told(table, schema):
    with pytest.raises(DataCheckError, match="do not say which tool made an attack"):
        rounds("leave-tool-out", table, schema)


def test_the_random_split_parts_equal_rows_which_is_why_it_misleads(table, schema):
    (only,) = rounds("random", table, schema)
    groups = row_hashes(table.arrow, ["bytes", "rate", "service"])
    assert np.isin(groups[only.parts == "test"], groups[only.parts == "fit"]).mean() > 0.1
    assert (only.parts[only.parts != "out"] == "test").mean() == pytest.approx(0.2, abs=0.02)


def test_only_two_protocols_look_at_test_rows():
    assert [name for name, protocol in PROTOCOLS.items() if protocol.looks] == ["official", "temporal"]


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="no protocol 'offical'; known: official, temporal"):
        protocol_of("offical")


def test_labels_of_test_rows_move_no_row_of_any_protocol(table, schema: FlowSchema):
    flows = with_tools(table)
    tests = column(flows, "split") == "test"
    labels = column(flows, "label").astype(object)
    labels[tests] = np.random.default_rng(0).permutation(labels[tests])
    shuffled = with_column(flows, "label", labels.tolist())
    for name in ("official", "leave-attack-out", "leave-types-out", "leave-tool-out", "random"):
        before, after = rounds(name, flows, schema), rounds(name, shuffled, schema)
        assert all((one.parts == other.parts).all() for one, other in zip(before, after, strict=True))
