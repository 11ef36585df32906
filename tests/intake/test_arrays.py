"""`.npy` uploads: what is read, and the one sentence in which the rest is refused."""

import gzip
import io
import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest

from netwarden.errors import InputError, SchemaError
from netwarden.flows.schema import load_schema
from netwarden.scoring.intake import category_codes, read_array, read_flows, recipe, sample_npy
from netwarden.sources.files import read_batches
from tests.fixtures.data import ROOT

SCHEMA_IDS = ("nsl_kdd", "cic_flow")


@pytest.fixture(scope="module")
def schema():
    return load_schema("nsl_kdd", ROOT / "schema")


def saved(folder, array, name="flows.npy"):
    np.save(folder / name, array)
    return folder / name


def one_batch(path, schema):
    (batch,) = read_flows(path, schema)
    return batch


@pytest.mark.parametrize("schema_id", SCHEMA_IDS)
def test_every_schema_offers_a_sample_that_is_read_without_a_rejected_row(tmp_path, schema_id):
    schema = load_schema(schema_id, ROOT / "schema")
    batch = one_batch(saved(tmp_path, sample_npy(schema, rows=50)), schema)
    assert len(batch.table) == 50
    assert not batch.rejected
    assert np.array_equal(sample_npy(schema), sample_npy(schema))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<i8", "<i4", "<u2", "<f2", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_any_type_and_order_are_the_same_flows(tmp_path, schema, dtype, order):
    whole = np.clip(np.floor(sample_npy(schema)), 0, 1)
    plain = one_batch(saved(tmp_path, whole), schema).table.arrow
    other = one_batch(saved(tmp_path, np.asarray(whole, dtype=dtype, order=order)), schema).table.arrow
    assert other.equals(plain)


def test_booleans_are_ones_and_zeros(tmp_path, schema):
    batch = one_batch(saved(tmp_path, np.ones((2, 41), bool)), schema)
    assert batch.table.arrow["duration"].to_pylist() == [1, 1]
    assert batch.table.arrow["protocol_type"].to_pylist() == ["tcp", "tcp"]


def test_a_flat_row_of_the_right_length_is_one_flow(tmp_path, schema):
    assert len(one_batch(saved(tmp_path, sample_npy(schema)[0]), schema).table) == 1


def test_codes_are_positions_in_the_vocabulary_and_minus_one_is_a_category_outside_it(tmp_path, schema):
    array = sample_npy(schema, rows=3)
    array[:, 1] = [2, 0, -1]
    assert category_codes(schema)["protocol_type"] == {"icmp": 0, "tcp": 1, "udp": 2}
    names = one_batch(saved(tmp_path, array), schema).table.arrow["protocol_type"].to_pylist()
    assert names == ["udp", "icmp", "(not in the vocabulary)"]
    learned = {"protocol_type": ("icmp", "tcp", "udp", "sctp")}
    array[:, 1] = 3
    (batch,) = read_flows(tmp_path / "flows.npy", schema, learned)
    (batch,) = read_array(array, schema, learned)
    assert set(batch.table.arrow["protocol_type"].to_pylist()) == {"sctp"}


def test_rows_that_do_not_fit_are_listed_with_row_and_reason_and_the_others_are_read(tmp_path, schema):
    array = sample_npy(schema, rows=7)
    array[1, 2] = 70.0  # one past the last service
    array[2, 1] = 0.5
    array[3, 0] = -4
    array[4, 0] = np.nan
    array[5, 24] = np.inf
    batches = list(read_array(array, schema, batch_rows=2))
    assert np.concatenate([batch.rows for batch in batches]).tolist() == [0, 6]
    assert [(item.row, item.reason) for batch in batches for item in batch.rejected] == [
        (1, "service: no category has this code"),
        (2, "protocol_type: no category has this code"),
        (3, "duration: out of range"),
        (4, "duration: missing"),
        (5, "serror_rate: infinite"),
    ]


def test_nan_is_a_missing_value_where_the_schema_allows_one(tmp_path):
    schema = load_schema("cic_flow", ROOT / "schema")
    array = sample_npy(schema)
    array[0, 3] = np.nan
    batch = one_batch(saved(tmp_path, array), schema)
    assert batch.table.arrow[schema.features[3].name][0].as_py() is None
    assert not batch.rejected


def test_named_fields_go_by_name_or_alias_with_text_or_codes_for_categories(tmp_path):
    schema = load_schema("cic_flow", ROOT / "schema")
    plain = sample_npy(schema)
    names = [column.aliases[0].name if column.aliases else column.name for column in schema.features]
    fields = pd.DataFrame(plain[:, ::-1], columns=names[::-1]).to_records(index=False)
    assert one_batch(saved(tmp_path, fields), schema).table.arrow.equals(
        one_batch(saved(tmp_path, plain, "plain.npy"), schema).table.arrow
    )
    schema = load_schema("nsl_kdd", ROOT / "schema")
    plain = sample_npy(schema)
    flows = pd.DataFrame(plain, columns=[column.name for column in schema.features])
    as_codes = flows.to_records(index=False)
    for name, codes in category_codes(schema).items():
        flows[name] = [list(codes)[int(code)] for code in flows[name]]
    wide = dict.fromkeys(category_codes(schema), "U32")
    as_text = flows.to_records(index=False, column_dtypes=wide)
    as_bytes = flows.to_records(index=False, column_dtypes=dict.fromkeys(wide, "S32"))
    expected = one_batch(saved(tmp_path, plain), schema).table.arrow
    for array in (as_codes, as_text, as_bytes):
        assert one_batch(saved(tmp_path, array), schema).table.arrow.equals(expected)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 41)), "holds no rows"),
        (np.zeros(7), r"has shape \(7,\); a table of shape \(rows, 41\) is expected"),
        (np.float64(3), r"has shape \(\)"),
        (np.zeros((2, 3, 41)), r"has shape \(2, 3, 41\)"),
        (np.zeros((2, 43)), "has 43 columns; schema nsl_kdd has 41 features, .*leave out .* attack_name, difficulty"),
        (np.zeros((2, 40)), "has 40 columns; schema nsl_kdd has 41 features, .* is it of another schema"),
        (np.zeros((41, 7)), "is it transposed"),
        (np.zeros((2, 41), complex), "holds complex128, not real numbers"),
        (np.zeros((2, 41), "U4"), "holds <U4, not real numbers; categories go in as codes"),
        (np.zeros((2, 41), "M8[s]"), "not real numbers"),
        (np.zeros(2, [("a", "f8", (3,))]), "field 'a' holds .*each field must be one number"),
        (np.zeros((2, 2), [("a", "f8")]), "named fields and 2 dimensions"),
        (np.zeros((2, 41), object), "holds Python objects, which are never read"),
        (np.zeros(2, [("a", object)]), "holds Python objects, which are never read"),
    ],
)
def test_an_array_that_is_no_flow_table_is_refused_in_one_sentence(tmp_path, schema, array, message):
    with pytest.raises(InputError, match=message) as caught:
        list(read_flows(saved(tmp_path, array), schema))
    assert "\n" not in str(caught.value)
    assert "flows.npy" in str(caught.value)


def npy_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHOLE = npy_bytes(np.zeros((9, 41)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"hello", "its first bytes are not NumPy's"),
        (pickle.dumps([1]), "it is a pickle, which is never read"),
        (b"PK\x03\x04rest", "archive"),
        (WHOLE[:200], "is cut short: 200 of 3,080 bytes"),
        (WHOLE[:8], "damaged .npy header"),
        (WHOLE[:40], "damaged .npy header"),
        (WHOLE.replace(b"(9, 41)", b"(9, 41,"), "damaged .npy header"),
        (WHOLE.replace(b"'<f8'", b"'<,f8'")[:-1], "damaged .npy header"),
        (WHOLE.replace(b"'shape'", b"b'hape'"), "damaged .npy header"),
        (b"\x93NUMPY\x09\x00" + WHOLE[8:], "damaged .npy header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"__import__('os')    \n", "damaged .npy header"),
        (WHOLE.replace(b"(9, 41)", b"(-9,41)"), "damaged .npy header: shape"),
        (WHOLE.replace(b"'<f8'", b"'<q9'"), "damaged .npy header"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30) + b" " * 1000, "damaged .npy header"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, schema, content, message):
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        list(read_flows(tmp_path / "bad.npy", schema))
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_more_than_the_file_holds_takes_no_memory(tmp_path, schema):
    huge = WHOLE.replace(b"(9, 41), ", b"(9000000000000, 41), ")
    (tmp_path / "huge.npy").write_bytes(huge)
    with pytest.raises(InputError, match="cut short"):
        list(read_flows(tmp_path / "huge.npy", schema))


def test_the_recipe_makes_an_upload_of_ones_own_csv(tmp_path, monkeypatch, nsl_kdd):
    schema = load_schema("nsl_kdd", ROOT / "schema")
    with gzip.open(nsl_kdd / "KDDTest+.txt.gz", "rt") as lines:
        (tmp_path / "flows.csv").write_text("".join(line for line, _ in zip(lines, range(50), strict=False)))
    monkeypatch.chdir(tmp_path)
    made = recipe(schema)
    assert made.count("\n") == 3
    exec(made, {})  # noqa: S102 - the recipe is code for users to run
    from_array = one_batch(tmp_path / "flows.npy", schema).table.arrow
    from_csv = one_batch(tmp_path / "flows.csv", schema).table.arrow
    names = [column.name for column in schema.features]
    assert from_array.select(names).equals(from_csv.select(names))
    assert json.dumps(category_codes(schema))


def test_csv_rows_keep_their_number_and_line_when_others_are_rejected(tmp_path, schema, nsl_kdd):
    with gzip.open(nsl_kdd / "KDDTest+.txt.gz", "rt") as lines:
        head = [line for line, _ in zip(lines, range(9), strict=False)]
    head[3] = "1,2,3\n"
    head[5] = "-1" + head[5][1:]
    (tmp_path / "flows.csv").write_text("".join(head))
    batches = list(read_flows(tmp_path / "flows.csv", schema, batch_rows=4))
    assert np.concatenate([batch.rows for batch in batches]).tolist() == [0, 1, 2, 4, 6, 7, 8]
    found = [(item.row, item.line, item.reason) for batch in batches for item in batch.rejected]
    assert found == [(3, 4, "3 columns instead of 43"), (5, 6, "duration: out of range")]


def test_a_file_without_header_may_leave_out_the_label_when_it_is_only_scored(tmp_path, schema, nsl_kdd):
    with gzip.open(nsl_kdd / "KDDTest+.txt.gz", "rt") as lines:
        head = [line for line, _ in zip(lines, range(5), strict=False)]
    (tmp_path / "whole.csv").write_text("".join(head))
    (tmp_path / "features.csv").write_text("".join(line.rsplit(",", 2)[0] + "\n" for line in head))
    names = [column.name for column in schema.features]
    read = [one_batch(tmp_path / name, schema).table.arrow for name in ("whole.csv", "features.csv")]
    assert read[1].select(names).equals(read[0].select(names))
    with pytest.raises(SchemaError, match="missing: attack_name"):
        list(read_batches(tmp_path / "features.csv", schema, labelled=True))


def test_the_sample_holds_the_examples_of_the_schema(tmp_path, schema):
    flows = one_batch(saved(tmp_path, sample_npy(schema)), schema).table.arrow
    assert flows.column("service").to_pylist() == [row["service"] for row in schema.examples]
    assert flows.column("dst_bytes").to_pylist() == [row.get("dst_bytes", 0) for row in schema.examples]
