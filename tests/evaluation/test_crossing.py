"""Detectors cross to another dataset by the features that both measure, and by no others."""

import numpy as np
import pyarrow as pa
import pytest

from netwarden.capture.definitions import FEATURES
from netwarden.errors import DataCheckError
from netwarden.evaluation.crossing import AT_HOME, cross, shared_features
from netwarden.evaluation.split import assign_parts
from netwarden.flows.schema import Column, FlowSchema, load_schema
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams
from tests.fixtures.data import ROOT

PARAMS = TransformParams()


def schema_of(name, **columns):
    """Numbers with a unit each, or (unit, same_as)."""
    made = []
    for column, facts in columns.items():
        unit, same_as = facts if isinstance(facts, tuple) else (facts, "")
        made.append(Column(name=column, type="float", unit=unit, same_as=same_as))
    return FlowSchema(id=name, columns=tuple(made))


ONE = schema_of("one", length_us="us", out_bytes="bytes", in_bytes="bytes", out="packets", back="packets", other="")
TWO = schema_of(
    "two",
    took_s=("s", "length_us"),
    sent=("bytes", "out_bytes"),
    got=("bytes", "in_bytes"),
    out="packets",
    back="packets",
    odd="",
)


def rows_of(schema, labels, seed=0):
    """Random rows; the duration is 3 of whatever unit the schema has."""
    rng, rows = np.random.default_rng(seed), len(labels)
    columns = {column.name: rng.random(rows) for column in schema.columns}
    columns[schema.columns[0].name] = np.full(rows, 3.0)
    return FlowTable(
        pa.table(
            {
                "row_id": pa.array([(seed * 10**6 + row).to_bytes(16, "big") for row in range(rows)], pa.binary(16)),
                **columns,
                "label": labels,
                "family": ["benign" if label == "benign" else "dos" for label in labels],
                "split": [""] * rows,
            }
        ),
        schema.id,
    )


@pytest.fixture
def here():
    return rows_of(ONE, ["benign"] * 300 + ["neptune"] * 200)


@pytest.fixture
def there():
    return rows_of(TWO, ["benign"] * 50 + ["smurf"] * 40, seed=1)


def test_names_declared_the_same_are_shared_and_units_made_one(here, there):
    crossing = cross("a", (here, ONE), "b", (there, TWO))
    assert [str(each) for each in crossing.shared] == [
        "length_us = took_s",
        "out_bytes = sent",
        "in_bytes = got",
        "out",
        "back",
    ]
    lengths = crossing.table.arrow.column("length_us").to_numpy()
    assert (lengths[: len(here)] == 3).all() and (lengths[len(here) :] == 3e6).all()
    assert "length_us = took_s" in crossing.protocol.meaning


def test_the_other_dataset_judges_and_the_first_trains_but_for_its_test_rows(here, there):
    crossing = cross("a", (here, ONE), "b", (there, TWO))
    (only,) = crossing.protocol.divide(crossing.table, crossing.schema, PARAMS)
    own, parts = assign_parts(here, ONE, PARAMS), only.parts[: len(here)]
    assert (only.parts[len(here) :] == "test").all() and only.subsets["b"][len(here) :].all()
    assert not only.subsets["b"][: len(here)].any() and not only.whole
    assert (parts[own == "test"] == "out").all() and (only.subsets[AT_HOME][: len(here)] == (own == "validation")).all()
    training = ~np.isin(own, ["test", "validation"])
    assert (parts[training] == own[training]).all()


def test_too_few_shared_features_are_refused_by_name(here, there):
    fewer = TWO.model_copy(update={"columns": TWO.columns[:3]})
    with pytest.raises(DataCheckError, match=r"share 3 numbers .*length_us = took_s, .* fewer than 5 .*same_as"):
        cross("a", (here, ONE), "b", (there, fewer))


def test_a_dataset_without_attacks_cannot_judge(here):
    with pytest.raises(DataCheckError, match="b has only benign flows"):
        cross("a", (here, ONE), "b", (rows_of(TWO, ["benign"] * 50), TWO))


def test_units_that_do_not_convert_and_categories_are_not_shared():
    metres = schema_of("metres", length_us=("m", ""), out_bytes="", out="packets")
    texts = FlowSchema(id="texts", columns=(Column(name="out", type="string", open=True),))
    assert [str(each) for each in shared_features(ONE, metres)] == ["out"]
    assert shared_features(ONE, texts) == ()


def shared_names(first, second):
    return {
        str(each) for each in shared_features(load_schema(first, ROOT / "schema"), load_schema(second, ROOT / "schema"))
    }


def test_our_schemas_share_what_they_say():
    five = {"flow_duration_us = duration_s", "fwd_bytes = orig_bytes", "bwd_bytes = resp_bytes"}
    five |= {"fwd_packets = orig_pkts", "bwd_packets = resp_pkts"}
    assert shared_names("cic_flow", "zeek_conn") == shared_names("netwarden_flow", "zeek_conn") == five
    assert "src_bytes" not in shared_names("nsl_kdd", "unsw_nb15")  # payload there, whole packets here
    across = shared_names("cic_flow", "netwarden_flow")
    assert {"fwd_iat_mean_us", "fwd_packet_bytes_mean"} <= across
    assert across.isdisjoint(feature.name for feature in FEATURES if feature.original_differs)
    assert "syn_packets" not in across  # not the same in every build of the original


def test_every_same_as_names_a_column_of_another_schema():
    schemas = [load_schema(path.stem, ROOT / "schema") for path in ROOT.glob("schema/*_*.yaml")]
    known = {column.name: column for schema in schemas for column in schema.features if not column.same_as}
    declared = [column for schema in schemas for column in schema.features if column.same_as]
    assert len(declared) >= 5
    for column in declared:
        assert known[column.same_as].factor(column.unit) > 0
