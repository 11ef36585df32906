"""The only transform: by name, exact, counted, and equal after a round trip through its file."""

import zipfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from netwarden.errors import BundleError, SchemaError
from netwarden.features import preprocessor as module
from netwarden.features.arrays import pack_texts, unpack_texts, write_arrays
from netwarden.features.preprocessor import FeatureColumn, Preprocessor, fit_preprocessor, load_preprocessor
from netwarden.flows.schema import Column, FlowSchema
from netwarden.flows.table import FlowTable


def column(name, kind, **facts):
    return Column(name=name, type=kind, **facts)


SCHEMA = FlowSchema(
    id="small",
    columns=(
        column("bytes", "int", unit="bytes", meaning="Bytes sent"),
        column("rate", "float"),
        column("proto", "string", categories=("tcp", "udp")),
        column("service", "string", open=True, categories=("http",)),
        column("seen_at", "time", role="time"),
    ),
)


def table(**columns):
    full = {"bytes": [1, 2], "rate": [0.5, 1.5], "proto": ["tcp", "udp"], "service": ["http", "dns"], **columns}
    types = {"bytes": pa.int64(), "rate": pa.float64(), "proto": pa.string(), "service": pa.string()}
    return FlowTable(
        pa.table(
            {k: v if isinstance(v, pa.Array | pa.ChunkedArray) else pa.array(v, types[k]) for k, v in full.items()}
        ),
        "small",
    )


@pytest.fixture
def fitted() -> Preprocessor:
    return fit_preprocessor(table(), SCHEMA)


def test_listed_categories_keep_their_places_and_learned_ones_follow_sorted():
    rows = table(service=["ssh", "dns"])
    assert fit_preprocessor(rows, SCHEMA).columns[3].categories == ("http", "dns", "ssh")


def test_a_closed_vocabulary_is_what_the_schema_lists():
    assert fit_preprocessor(table(proto=["tcp", "gre"]), SCHEMA).columns[2].categories == ("tcp", "udp")


def test_an_open_vocabulary_without_bound_keeps_its_most_frequent_categories(monkeypatch):
    monkeypatch.setattr(module, "MAX_CATEGORIES", 3)
    texts = ["rare", "often", "often", "b", "b", "a", "a"]
    rows = table(**dict.fromkeys(("bytes", "rate"), [1] * 7), proto=["tcp"] * 7, service=texts)
    assert fit_preprocessor(rows, SCHEMA).columns[3].categories == ("http", "a", "b")


def test_features_left_out_by_pattern_are_not_learned():
    assert fit_preprocessor(table(), SCHEMA, leave_out=["ra*", "no such"]).names == tuple(
        name for name in fit_preprocessor(table(), SCHEMA).names if name != "rate"
    )


def test_leaving_every_feature_out_is_refused():
    with pytest.raises(SchemaError, match=r"no feature to train on once transform.leave_out \(\*\) is left out"):
        fit_preprocessor(table(), SCHEMA, leave_out=["*"])


def test_the_matrix_is_float32_in_c_order_with_codes_for_categories(fitted):
    matrix = fitted.transform(table().arrow)
    assert matrix.dtype == np.float32 and matrix.flags.c_contiguous
    np.testing.assert_array_equal(matrix, [[1, 0.5, 0, 0], [2, 1.5, 1, 1]])


def test_missing_values_become_nan_and_unknown_categories_a_code_of_their_own(fitted):
    rows = table(bytes=[None, 3], rate=[None, np.nan], proto=[None, "gre"], service=["x", "y"])
    unknown: Counter[str] = Counter()
    matrix = fitted.transform(rows.arrow, unknown)
    np.testing.assert_array_equal(matrix, [[np.nan, np.nan, np.nan, -1], [3, np.nan, -1, -1]])
    assert unknown == {"proto": 1, "service": 2}


def test_column_order_and_other_columns_do_not_matter(fitted):
    shuffled = table().arrow.select(["service", "bytes", "proto", "rate"]).append_column("label", pa.array(["x", "y"]))
    np.testing.assert_array_equal(fitted.transform(shuffled), fitted.transform(table().arrow))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_any_arrow_type_gives_the_same_codes(fitted, kind):
    texts = pa.array(["dns", None]).cast(kind)
    expected = fitted.transform(table(service=["dns", None]).arrow)
    np.testing.assert_array_equal(fitted.transform(table(service=texts).arrow), expected)


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), pa.int32(), pa.float32(), pa.float64(), pa.bool_()])
def test_numbers_of_any_arrow_type_give_the_same_values(fitted, kind):
    numbers = pa.array([1, None]).cast(kind)
    expected = fitted.transform(table(bytes=[1, None]).arrow)
    np.testing.assert_array_equal(fitted.transform(table(bytes=numbers).arrow), expected)


def test_a_column_that_is_missing_throughout_is_nan(fitted):
    matrix = fitted.transform(table(bytes=pa.nulls(2), service=pa.nulls(2)).arrow)
    assert np.isnan(matrix[:, [0, 3]]).all()


def test_whole_numbers_are_exact_to_two_to_the_24_and_keep_24_bits_beyond(fitted):
    numbers = np.array([2**24, 2**24 + 1, 2**40 + 12345, -(2**62), 2**63 - 1])
    rows = pa.table({"bytes": numbers, "rate": [0.0] * 5, "proto": ["tcp"] * 5, "service": ["http"] * 5})
    got = fitted.transform(rows)[:, 0].astype(np.float64)
    assert got[0] == 2**24
    assert np.max(np.abs(got / numbers - 1)) < 6e-8


def test_a_missing_neighbour_does_not_change_how_a_large_number_is_rounded(fitted):
    # Through float64 this number would be rounded twice, to another float32.
    number = 2**54 + 2**30 + 1
    alone = fitted.transform(table(bytes=[number, 1]).arrow)[0, 0]
    beside = fitted.transform(table(bytes=[number, None]).arrow)[0, 0]
    assert alone == beside


def test_numbers_beyond_float32_saturate(fitted):
    got = fitted.transform(table(rate=[1e300, -np.inf]).arrow)[:, 1]
    np.testing.assert_array_equal(got, [np.finfo(np.float32).max, np.finfo(np.float32).min])


def test_rows_are_transformed_alike_whatever_the_chunks(fitted):
    size = module._BLOCK_ROWS * 2 + 77
    draw = np.random.default_rng(3)
    rows = pa.table(
        {
            "bytes": pa.array(draw.integers(0, 1 << 40, size), mask=draw.random(size) < 0.1),
            "rate": draw.normal(size=size),
            "proto": np.array(["tcp", "udp", "gre"])[draw.integers(0, 3, size)],
            "service": np.array(["http", "dns", "new"])[draw.integers(0, 3, size)],
        }
    )
    whole = fitted.transform(rows)
    pieces = pa.concat_tables([rows.slice(0, 5), rows.slice(5, 4000), rows.slice(4005)])
    assert pieces.column("bytes").num_chunks == 3
    np.testing.assert_array_equal(fitted.transform(pieces), whole)
    for at in (0, 4096, size - 1):
        np.testing.assert_array_equal(fitted.transform(rows.slice(at, 1))[0], whole[at])


def test_an_empty_table_gives_an_empty_matrix(fitted):
    assert fitted.transform(table().arrow.slice(0, 0)).shape == (0, 4)


def test_the_table_is_left_untouched(fitted):
    rows = table(bytes=[None, 3], rate=[1e300, 2.0], service=["x", "y"]).arrow
    before = rows.to_pylist()
    fitted.transform(rows)
    assert rows.to_pylist() == before


def test_missing_columns_are_named(fitted):
    with pytest.raises(SchemaError, match="2 of 4 columns of schema small missing: bytes, proto; is this file"):
        fitted.transform(table().arrow.select(["rate", "service"]))


def test_a_doubled_column_is_refused(fitted):
    doubled = table().arrow.append_column("rate", pa.array([0.0, 0.0]))
    with pytest.raises(SchemaError, match="'rate' occurs 2 times"):
        fitted.transform(doubled)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"bytes": pa.array(["1", "2"])}, "'bytes' holds string, not numbers; were the rows conformed"),
        ({"proto": pa.array([6, 17])}, "'proto' holds int64, not text; were the rows conformed"),
    ],
)
def test_wrongly_typed_columns_are_named(fitted, rows, message):
    with pytest.raises(SchemaError, match=message):
        fitted.transform(table(**rows).arrow)


def test_a_time_cannot_be_a_feature():
    schema = FlowSchema(id="odd", columns=(column("at", "time"),))
    with pytest.raises(SchemaError, match="'at' is a time and cannot be a feature; give it the role time"):
        fit_preprocessor(FlowTable(pa.table({"at": pa.array([], pa.timestamp("us", "UTC"))}), "odd"), schema)


def test_the_saved_state_is_equal_and_undated(fitted, tmp_path):
    fitted.save(tmp_path / "p.npz")
    with zipfile.ZipFile(tmp_path / "p.npz") as file:
        assert {entry.date_time for entry in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    loaded = load_preprocessor(tmp_path / "p.npz")
    assert loaded == fitted
    np.testing.assert_array_equal(loaded.transform(table().arrow), fitted.transform(table().arrow))


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "ü\x00", "b\x00\x00"]])
def test_texts_survive_packing(texts):
    assert unpack_texts(pack_texts(texts)) == texts


def test_a_file_of_objects_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as file:
        for name in module._FIELDS:
            with file.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.array([{}], object), allow_pickle=True)
    with pytest.raises(BundleError, match=r"p\.npz cannot be read as plain arrays: .*allow_pickle"):
        load_preprocessor(tmp_path / "p.npz")


def test_a_damaged_file_is_refused(fitted, tmp_path):
    (tmp_path / "p.npz").write_bytes(b"no zip")
    with pytest.raises(BundleError, match=r"p\.npz cannot be read as plain arrays"):
        load_preprocessor(tmp_path / "p.npz")
    write_arrays(tmp_path / "p.npz", {"names": pack_texts(["a"])})
    with pytest.raises(BundleError, match=r"p\.npz lacks the arrays categories, category_counts"):
        load_preprocessor(tmp_path / "p.npz")
    arrays = {name: pack_texts(["a"]) for name in module._FIELDS}
    write_arrays(tmp_path / "p.npz", arrays | {"category_counts": np.array([2])})
    with pytest.raises(BundleError, match="does not hold one vocabulary per column"):
        load_preprocessor(tmp_path / "p.npz")


def test_columns_know_whether_they_are_categories():
    assert FeatureColumn("a", "ip").categorical and not FeatureColumn("b", "float").categorical
