"""Types, units, missing values and ranges, column by column, and what each refusal says."""

import math

import pyarrow as pa
import pytest

from netwarden.errors import SchemaError
from netwarden.flows.conform import conform
from netwarden.flows.schema import FlowSchema
from tests.fixtures.data import ROOT

COLUMNS = [
    {"name": "packets", "type": "int", "range": [0, 1000], "missing": "refuse"},
    {"name": "iat_us", "type": "float", "unit": "us", "range": [0, None], "aliases": [{"name": "IAT", "unit": "ms"}]},
    {"name": "window", "type": "int", "sentinels": [-1], "range": [0, None], "out_of_range": "missing"},
    {"name": "rate", "type": "float", "infinite": "refuse"},
    {"name": "protocol", "type": "string", "categories": ["tcp", "udp"]},
    {"name": "service", "type": "string", "open": True, "optional": True, "role": "identifier"},
]
SCHEMA = FlowSchema.model_validate({"id": "made_up", "columns": COLUMNS})
GOOD = {"packets": "3", "iat_us": "1.5", "window": "10", "rate": "0.5", "protocol": "tcp"}


def _rows(*rows, **changes):
    """Conformed rows, each the good one with changes."""
    filled = [GOOD | row for row in (rows or (changes,))]
    return conform(pa.table({name: [row[name] for row in filled] for name in filled[0]}), SCHEMA)


def _reason(**changes):
    (rejection,) = _rows(**changes).rejected
    return rejection.reason


def _value(name, **changes):
    return _rows(**changes).table.arrow[name][0].as_py()


def test_text_becomes_the_types_the_schema_names():
    assert _rows().table.arrow.to_pylist() == [
        {"packets": 3, "iat_us": 1.5, "window": 10, "rate": 0.5, "protocol": "tcp", "service": None}
    ]


@pytest.mark.parametrize("text", [" 3 ", "3.0", "3e0", "+3", "0x3", "3.000"])
def test_whole_numbers_are_read_however_they_are_written(text):
    assert _value("packets", packets=text) == 3


def test_large_whole_numbers_keep_every_digit():
    assert _value("window", window=str(2**62 + 1)) == 2**62 + 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"packets": "three"}, "packets: not a number"),
        ({"packets": "2.5"}, "packets: not a whole number"),
        ({"packets": ""}, "packets: missing"),
        ({"packets": "nan"}, "packets: missing"),
        ({"packets": "1001"}, "packets: out of range"),
        ({"packets": "-1"}, "packets: out of range"),
        ({"window": "1e300"}, "window: too large"),
        ({"rate": "-inf"}, "rate: infinite"),
        ({"rate": "1,5"}, "rate: not a number"),
        ({"protocol": "icmp"}, "protocol: unknown category"),
    ],
)
def test_a_value_the_schema_refuses_refuses_its_row_with_the_column_and_the_reason(changes, reason):
    assert _reason(**changes) == reason


def test_only_the_bad_rows_are_left_out_and_named_by_their_place():
    found = _rows({}, {"packets": "x"}, {"rate": "7"}, {"protocol": "gre", "packets": "y"})
    assert found.kept.tolist() == [0, 2] and len(found.table) == 2
    assert [(fault.row, fault.reason) for fault in found.rejected] == [
        (1, "packets: not a number"),
        (3, "packets: not a number"),
    ]
    assert found.table.arrow["rate"].to_pylist() == [0.5, 7.0]


def test_values_that_mean_not_observed_become_missing_and_are_counted_by_kind():
    found = _rows({"window": "-1"}, {"window": "-9"}, {"iat_us": "Infinity"}, {"iat_us": ""}, {"window": "NaN"})
    assert found.changed == {"sentinel": 1, "out_of_range": 1, "infinite": 1, "missing": 2}
    assert found.table.arrow["window"].to_pylist() == [None, None, 10, 10, None]
    assert not found.rejected


def test_an_alias_in_another_unit_is_converted():
    raw = pa.table({(name if name != "iat_us" else "IAT"): [value] for name, value in GOOD.items()})
    assert conform(raw, SCHEMA).table.arrow["iat_us"][0].as_py() == 1500.0


def test_typed_tables_conform_like_text():
    raw = pa.table(
        {
            "packets": pa.array([3.0, 2.5, None], pa.float32()),
            "iat_us": pa.array([1, 2, 3], pa.uint16()),
            "window": pa.array([-1, 5, 5], pa.int32()),
            "rate": pa.array([0.5, math.nan, 1.0]),
            "protocol": pa.array(["tcp", "udp", "tcp"]).dictionary_encode(),
        }
    )
    found = conform(raw, SCHEMA)
    assert found.table.arrow.to_pylist() == [
        {"packets": 3, "iat_us": 1.0, "window": None, "rate": 0.5, "protocol": "tcp", "service": None}
    ]
    assert [fault.reason for fault in found.rejected] == ["packets: not a whole number", "packets: missing"]


def test_column_order_and_unknown_columns_do_not_matter():
    backwards = pa.table({"colour": ["red"]} | {name: [GOOD[name]] for name in reversed(GOOD)})
    assert conform(backwards, SCHEMA).table.arrow.equals(_rows().table.arrow)


def test_missing_features_are_named():
    with pytest.raises(SchemaError, match=r"2 of 5 columns of schema made_up missing: window, rate; .*another schema"):
        conform(pa.table({name: ["1"] for name in ("packets", "iat_us", "protocol")}), SCHEMA)


def test_a_column_that_cannot_be_numbers_is_said_to_be_misplaced():
    raw = pa.table({name: [GOOD[name]] for name in GOOD}).set_column(0, "packets", pa.array([b"x"], pa.binary()))
    with pytest.raises(SchemaError, match="column 'packets' holds values of type binary, which are no numbers"):
        conform(raw, SCHEMA)


def test_an_unknown_unit_is_refused_by_name():
    schema = FlowSchema.model_validate(
        {
            "id": "odd",
            "columns": [{"name": "t", "type": "int", "unit": "us", "aliases": [{"name": "hours", "unit": "h"}]}],
        }
    )
    with pytest.raises(SchemaError, match="column 't': no conversion from 'h' to 'us'"):
        conform(pa.table({"hours": ["1"]}), schema)


def test_no_rows_conform_to_an_empty_table_of_the_same_columns():
    raw = pa.table({name: pa.array([], pa.string()) for name in GOOD})
    assert conform(raw, SCHEMA).table.arrow.schema.equals(_rows().table.arrow.schema)


def test_inputs_are_left_as_they_were():
    raw = pa.table({name: [value] for name, value in (GOOD | {"window": "-1"}).items()})
    before = raw.to_pylist()
    conform(raw, SCHEMA)
    assert raw.to_pylist() == before


def test_the_repository_holds_the_schemas_it_names():
    assert {path.stem for path in (ROOT / "schema").glob("*.yaml")} >= {
        "nsl_kdd",
        "cic_flow",
        "unsw_nb15",
        "zeek_conn",
        "families",
    }
