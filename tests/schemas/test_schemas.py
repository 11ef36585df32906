"""What the schemas in the repository promise."""

import pytest

from netwarden.errors import SchemaError
from netwarden.flows.schema import load_schema, schema_ids
from tests.fixtures.data import ROOT

SCHEMAS = ROOT / "schema"


@pytest.mark.parametrize("name", schema_ids(SCHEMAS))
def test_every_schema_says_where_it_comes_from_and_what_its_columns_mean(name):
    schema = load_schema(name, SCHEMAS)
    assert schema.id == name and schema.title
    assert schema.origin.url.startswith("https://") and schema.origin.licence and schema.origin.citation
    unexplained = [column.name for column in schema.features if not column.meaning]
    assert not unexplained


@pytest.mark.parametrize("name", schema_ids(SCHEMAS))
def test_no_feature_is_optional_and_no_identifier_leak_or_label_is_a_feature(name):
    schema = load_schema(name, SCHEMAS)
    assert not [column.name for column in schema.features if column.optional]
    assert {"difficulty", "dst_port", "src_ip", "is_attack"}.isdisjoint(column.name for column in schema.features)


def test_nsl_kdd_has_the_41_features_in_the_order_of_its_files():
    schema = load_schema("nsl_kdd", SCHEMAS)
    names = [column.name for column in schema.features]
    assert len(names) == 41
    assert names[:6] == ["duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes"]
    assert names[-1] == "dst_host_srv_rerror_rate"
    assert [len(schema.column(name).categories) for name in ("protocol_type", "service", "flag")] == [3, 70, 11]
    assert schema.column("difficulty").role == "leak"


def test_cic_flow_has_76_features_of_which_those_that_differ_between_builds_are_marked():
    features = load_schema("cic_flow", SCHEMAS).features
    assert len(features) == 76
    unstable = {column.name for column in features if not column.stable}
    assert unstable == {
        *(f"{flag}_packets" for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "cwr", "ece")),
        *(f"bwd_bulk_{what}" for what in ("bytes_mean", "packets_mean", "bytes_per_s")),
        *(f"{way}_init_window_bytes" for way in ("fwd", "bwd")),
        *(f"subflow_{way}_{what}" for way in ("fwd", "bwd") for what in ("packets", "bytes")),
        *(f"{state}_{what}_us" for state in ("active", "idle") for what in ("mean", "std", "max", "min")),
    }


def test_unsw_nb15_reads_the_49_columns_in_the_order_of_its_files():
    schema = load_schema("unsw_nb15", SCHEMAS)
    assert len(schema.columns) == 49 and len(schema.features) == 41
    assert [schema.columns[place].name for place in (0, 28, 47, 48)] == [
        "src_ip",
        "started_at",
        "attack_name",
        "is_attack",
    ]


def test_a_schema_that_does_not_exist_names_those_that_do():
    with pytest.raises(SchemaError, match=r"no schema 'kdd': .*known: cic_flow, netwarden_flow, nsl_kdd, "):
        load_schema("kdd", SCHEMAS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id: x\ncolumns: [{name: a, type: text}]", r"columns.0.type: Input should be 'int', 'float'"),
        ("id: x\ncolumns: [{name: label, type: int}]", r"reserved names \['label'\]"),
        ("id: x\ncolumns: [{name: a, type: int}, {name: a, type: int}]", r"columns named twice \['a'\]"),
        ("id: x\ncolour: red\ncolumns: []", "colour: Extra inputs are not permitted"),
        ("id: [", "is not YAML"),
    ],
)
def test_a_faulty_schema_is_refused_with_the_key(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SchemaError, match=message):
        load_schema(str(path), tmp_path)
