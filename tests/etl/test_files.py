"""Files as people have them: headers or none, odd line ends, encodings, damage, Zeek, Parquet and Arrow."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import feather

from netwarden.errors import InputError, SchemaError
from netwarden.flows.labels import load_families
from netwarden.flows.schema import FlowSchema, load_schema
from netwarden.sources.files import column_names, read_batches, read_label_file, sniff
from tests.fixtures.data import ROOT
from tests.schemas.spellings import FEATURES, header, write_row

SCHEMAS = ROOT / "schema"
CIC = load_schema("cic_flow", SCHEMAS)
UNSW = load_schema("unsw_nb15", SCHEMAS)
ZEEK = load_schema("zeek_conn", SCHEMAS)
FAMILIES = load_families(SCHEMAS / "families.yaml")
SMALL = FlowSchema.model_validate(
    {
        "id": "small",
        "columns": [
            {"name": "packets", "type": "int", "range": [0, None]},
            {"name": "proto", "type": "string", "open": True},
            {"name": "truth", "type": "string", "role": "label"},
        ],
        "label": {"binary": True, "benign": ["ok"], "attack": ["bad"]},
    }
)
BARE = SMALL.model_copy(update={"file": SMALL.file.model_copy(update={"header": False})})


def _write(tmp_path, data, name="flows.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def _read(path, schema=SMALL, **options):
    """All rows, their lines, and rejected (line, reason, text)."""
    batches = list(read_batches(path, schema, FAMILIES, labelled=True, **options))
    rows = [row for batch in batches for row in batch.table.arrow.to_pylist()]
    lines = [int(line) for batch in batches for line in batch.lines]
    faults = [(row.line, row.reason, row.text) for batch in batches for row in batch.rejected]
    return rows, lines, faults


ONE = [{"packets": 3, "proto": "tcp", "label": "benign", "family": "benign"}]


@pytest.mark.parametrize(
    "data",
    [
        "packets,proto,truth\n3,tcp,ok\n",
        "packets,proto,truth\n3,tcp,ok",
        "packets,proto,truth\r\n3,tcp,ok\r\n",
        "\ufeffpackets,proto,truth\n3,tcp,ok\n",
        " Packets , PROTO,truth \n 3 , tcp ,ok\n",
        '"packets","proto","truth"\n"3","tcp","ok"\n',
        "packets;proto;truth\n3;tcp;ok\n",
        "truth\tpackets\tproto\nok\t3\ttcp\n",
        "\n\npackets,proto,truth\n\n3,tcp,ok\n\n\n",
        "colour,packets,proto,truth\nred,3,tcp,ok\n",
        "3,tcp,ok\n",
    ],
)
def test_one_row_is_read_the_same_however_the_file_is_written(tmp_path, data):
    schema = BARE if data[0] == "3" else SMALL
    assert _read(_write(tmp_path, data), schema)[0] == ONE
    assert _read(_write(tmp_path, gzip.compress(data.encode()), "flows.csv.gz"), schema)[0] == ONE


def test_a_schema_of_files_without_header_reads_one_that_has_a_header(tmp_path):
    assert _read(_write(tmp_path, "proto,packets,truth\ntcp,3,ok\n"), BARE)[0] == ONE


def test_bad_rows_are_told_with_line_reason_and_text(tmp_path):
    data = "packets,proto,truth\n3,tcp,ok\n\n4,udp\n5,tcp,ok,7\n-6,tcp,ok\nx,tcp,bad\n7,tcp,maybe\n8,udp,bad\n"
    rows, lines, faults = _read(_write(tmp_path, data))
    assert [row["packets"] for row in rows] == [3, 8] and lines == [2, 9]
    assert sorted(faults) == [
        (4, "2 columns instead of 3", "4,udp"),
        (5, "4 columns instead of 3", "5,tcp,ok,7"),
        (6, "packets: out of range", "-6,tcp,ok"),
        (7, "packets: not a number", "x,tcp,bad"),
        (8, "unknown label 'maybe'", "7,tcp,maybe"),
    ]


def test_a_quote_that_is_not_closed_costs_its_own_line_only(tmp_path):
    rows, lines, faults = _read(
        _write(tmp_path, 'packets,proto,truth\n3,"tcp,ok\n4,"u""p",ok\n5,x"y,"bad\n6,tcp,bad\n')
    )
    assert [(row["packets"], row["proto"]) for row in rows] == [(4, 'u"p'), (6, "tcp")] and lines == [3, 5]
    assert faults == [(2, "a quote is not closed", '3,"tcp,ok'), (4, "a quote is not closed", '5,x"y,"bad')]


LINES = st.lists(st.one_of(st.just("3,tcp,ok"), st.text(alphabet='013,,,"" ;.-a\x96é\t\r\x1c\u2028', max_size=12)))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES)
@example(["\r\r", "3,tcp,ok\r"])  # line ends that were converted twice
def test_every_line_is_a_row_or_a_rejected_one_whatever_it_holds(tmp_path, lines):
    path = _write(tmp_path, "packets,proto,truth\n" + "".join(f"{line}\n" for line in lines))
    rows, numbers, faults = _read(path, batch_rows=5)
    written = [place for place, line in enumerate(lines, start=2) if line.strip("\r")]
    assert sorted(numbers + [line for line, _, _ in faults]) == written
    assert len(rows) >= lines.count("3,tcp,ok")


def test_lines_are_right_across_batches(tmp_path):
    records = [f"{number},tcp,ok" if number % 10 else "bad" for number in range(1, 1001)]
    rows, lines, faults = _read(_write(tmp_path, "packets,proto,truth\n" + "\n".join(records)), batch_rows=64)
    assert lines == [number + 1 for number in range(1, 1001) if number % 10]
    assert [row["packets"] for row in rows] == [line - 1 for line in lines]
    assert [line for line, _, _ in faults] == [number + 1 for number in range(10, 1001, 10)]


def test_batches_hold_at_most_so_many_rows_and_tell_how_far_they_are(tmp_path):
    path = _write(tmp_path, "packets,proto,truth\n" + "1,tcp,ok\n" * 1000)
    batches = list(read_batches(path, SMALL, batch_rows=300))
    assert [len(batch.table) for batch in batches] == [299, 300, 300, 101]
    assert [round(batch.position, 1) for batch in batches] == [0.3, 0.6, 0.9, 1.0]


def test_header_lines_repeated_mid_file_are_dropped_and_counted(tmp_path):
    names = ",".join(header("cse_cic_ids2018"))
    row = ",".join(write_row("cse_cic_ids2018", dict.fromkeys(FEATURES, "1"), "Benign"))
    path = _write(tmp_path, "\n".join([names, row, names, row, row, names]))
    (batch,) = read_batches(path, CIC, FAMILIES, labelled=True)
    assert batch.changed["repeated_header"] == 2 and not batch.rejected
    assert batch.lines.tolist() == [2, 4, 5]


def test_a_label_with_a_raw_windows_dash_is_known(tmp_path):
    row = ",".join(write_row("labelled_flows", dict.fromkeys(FEATURES, "1"), "Web Attack \x96 XSS"))
    path = _write(tmp_path, ",".join(header("labelled_flows")).encode() + b"\n" + row.encode("latin-1") + b"\n")
    (batch,) = read_batches(path, CIC, FAMILIES, labelled=True)
    assert batch.table.arrow["label"].to_pylist() == ["web_xss"]


@pytest.mark.parametrize(
    ("name", "rows", "changed"),
    [
        ("baseline_xss.csv.gz", 652, {"sentinel": 17}),
        ("monday_first_999.csv.gz", 999, {"infinite": 20, "sentinel": 768, "out_of_range": 61}),
        ("machine_learning_cve_sample.csv.gz", 6311, {"infinite": 20, "sentinel": 653, "out_of_range": 2}),
        ("thursday_web_first_1006.csv.gz", 1006, {"sentinel": 1130, "out_of_range": 2}),
    ],
)
def test_published_cic_files_are_read_whole_and_what_changes_is_counted(cic_ids2017, name, rows, changed):
    batches = list(read_batches(cic_ids2017 / name, CIC, FAMILIES, labelled=True))
    assert sum(len(batch.table) for batch in batches) == rows
    kinds = {kind for batch in batches for kind in batch.changed}
    assert {kind: sum(batch.changed.get(kind, 0) for batch in batches) for kind in kinds} == changed


def test_a_labelled_zeek_log_is_read_through_its_blanks_and_comments(sensor_logs):
    path = sensor_logs / "zeek_iot23_conn.log.labeled.gz"
    batches = list(read_batches(path, ZEEK, FAMILIES, labelled=True))
    assert sum(len(batch.table) for batch in batches) == 23145 and not any(batch.rejected for batch in batches)
    labels = [label for batch in batches for label in batch.table.arrow["label"].to_pylist()]
    assert {label: labels.count(label) for label in set(labels)} == {
        "benign": 1923,
        "ddos": 14394,
        "c2": 6706,
        "horizontal_port_scan": 122,
    }
    assert int(batches[0].lines[0]) == 9
    assert column_names(path)[-3:] == ["tunnel_parents", "label", "detailed-label"]
    assert sniff(path).delimiter == "\t"


def test_unsw_nb15_is_the_same_with_and_without_its_header(tmp_path):
    values = {column.name: str(place % 7) for place, column in enumerate(UNSW.columns)}
    values |= {"proto": "tcp", "state": "FIN", "service": "-", "attack_name": " Fuzzers ", "src_port": "0x000b"}
    bare = _write(tmp_path, ",".join(values[column.name] for column in UNSW.columns) + "\n", "UNSW-NB15_1.csv")
    short = [column for column in UNSW.columns if not column.optional]
    names = [column.aliases[-1].name if column.aliases else column.name for column in short]
    full = _write(
        tmp_path,
        ",".join(["id", *names, "rate", "label"])
        + "\n"
        + ",".join(["1", *(values[column.name] for column in short), "9.9", "1"]),
    )
    with_header, without = _read(full, UNSW)[0][0], _read(bare, UNSW)[0][0]
    assert without["label"] == "fuzzers" and without["service"] is None and without["src_port"] == 11
    features = [column.name for column in UNSW.features]
    assert {name: with_header[name] for name in features} == {name: without[name] for name in features}


def test_a_file_without_header_and_of_another_width_is_refused_with_both_widths(tmp_path):
    with pytest.raises(SchemaError, match=r"has 4 columns, where schema small, whose files have no header line, has 3"):
        _read(_write(tmp_path, "3,tcp,ok,1\n"), BARE)


def test_a_file_without_header_may_stop_after_the_features_when_it_is_only_scored(tmp_path):
    (batch,) = read_batches(_write(tmp_path, "3,tcp\n"), BARE)
    assert batch.table.arrow.to_pylist() == [{"packets": 3, "proto": "tcp"}]


def test_a_file_of_another_schema_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(SchemaError, match=r"3 of 3 columns of schema small missing: packets, proto, truth"):
        _read(_write(tmp_path, "a,b\nx,y\n"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "flows.csv is empty"),
        (b"\n\n", "flows.csv is empty"),
        ("packets,proto,truth\n3,tcp,ok\n".encode("utf-16"), "flows.csv is UTF-16; save it as UTF-8"),
        (b"\x00\x01\x02", "flows.csv is not text"),
        (b"packets,proto,truth\r3,tcp,ok\r", "flows.csv ends its lines with carriage returns only"),
        (gzip.compress(b"packets,proto,truth\n" + bytes(range(48, 58)) * 100_000)[:300], "flows.csv is damaged"),
        (b"packets,proto,truth\n" + b"1" * (17 << 20), "a line of over 16 MiB after line 1"),
        (b"x" * 200_000, "a line of .* characters, 'xxxxxxxxxxxxxxxxxxxx'…, is no row of a table"),
    ],
    ids=["empty", "blank", "utf-16", "binary", "cr only", "cut gzip", "endless line", "endless first line"],
)
def test_a_file_that_is_no_table_is_refused_in_one_sentence(tmp_path, data, message):
    with pytest.raises(InputError, match=message):
        _read(_write(tmp_path, data))


def test_a_gzip_cut_short_names_the_line_up_to_which_it_could_be_read(tmp_path):
    numbers = np.random.default_rng(7).integers(10**9, size=200_000)
    lines = "packets,proto,truth\n" + "".join(f"{number},tcp,ok\n" for number in numbers)
    packed = gzip.compress(lines.encode(), compresslevel=1)
    with pytest.raises(InputError, match=r"flows.csv.gz is damaged after line \d{4,}: .*was it copied whole\?"):
        _read(_write(tmp_path, packed[: len(packed) * 4 // 5], "flows.csv.gz"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.csv cannot be read: No such file"):
        _read(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_typed_files_are_read_like_text(tmp_path, ending):
    table = pa.table({"packets": [3, -1], "proto": ["tcp", "tcp"], "truth": ["ok", "ok"]})
    path = tmp_path / f"flows.{ending}"
    (pq.write_table if ending == "parquet" else feather.write_feather)(table, path)
    assert _read(path) == (ONE, [1], [(2, "packets: out of range", "-1,tcp,ok")])
    assert column_names(path) == ["packets", "proto", "truth"]


@pytest.mark.parametrize(("name", "kind"), [("flows.parquet", "a Parquet"), ("flows.arrow", "an Arrow")])
def test_a_damaged_typed_file_is_refused_by_name(tmp_path, name, kind):
    with pytest.raises(InputError, match=f"{name} is not {kind} file"):
        _read(_write(tmp_path, b"PAR1 not really", name))


def test_a_damaged_arrow_file_is_refused_before_its_offsets_lead_out_of_it(tmp_path):
    path = tmp_path / "flows.arrow"
    table = pa.table({"packets": [3], "proto": ["tcp"], "truth": ["ok"]})
    feather.write_feather(table, path, compression="uncompressed")
    whole = path.read_bytes()
    length = (3).to_bytes(4, "little")
    assert whole.count(bytes(4) + length + bytes(4)) >= 1
    path.write_bytes(whole.replace(bytes(4) + length, bytes(4) + b"\xf0\xff\xff\x7f"))
    with pytest.raises(InputError, match=r"flows\.arrow is damaged"):
        _read(path)


# --- labels in a second file ----------------------------------------------------------------------------------

UNLABELLED = "packets,proto\n3,tcp\n4\n5,udp\n"


def test_labels_of_a_second_file_meet_their_rows_also_behind_a_bad_one(tmp_path):
    labels = read_label_file(_write(tmp_path, "truth\nok\nbad\nbad\n", "labels.csv"), ["truth"])
    rows, lines, faults = _read(_write(tmp_path, UNLABELLED), labels=labels)
    assert [(row["packets"], row["label"]) for row in rows] == [(3, "benign"), (5, "attack")]
    assert lines == [2, 4] and faults == [(3, "1 columns instead of 2", "4")]


def test_a_label_that_equals_its_column_name_is_a_label(tmp_path):
    assert read_label_file(_write(tmp_path, "attack\nattack\nok\nattack\n")).to_pylist() == ["attack", "ok", "attack"]


def test_labels_of_a_second_file_replace_those_of_the_first(tmp_path):
    labels = read_label_file(_write(tmp_path, "id,label\n7,bad\n", "labels.csv"))
    assert _read(_write(tmp_path, "packets,proto,truth\n3,tcp,ok\n"), labels=labels)[0][0]["label"] == "attack"


@pytest.mark.parametrize(("count", "message"), [(2, "has 2 rows, fewer than flows.csv"), (4, "has 4 rows, .* has 3")])
def test_a_label_file_of_another_length_is_refused(tmp_path, count, message):
    labels = read_label_file(_write(tmp_path, "truth\n" + "ok\n" * count, "labels.csv"), ["truth"])
    with pytest.raises(InputError, match=message):
        _read(_write(tmp_path, UNLABELLED), labels=labels)


def test_a_label_file_without_a_label_column_lists_its_columns(tmp_path):
    with pytest.raises(InputError, match=r"label file labels\.csv has no column truth, only a, b"):
        read_label_file(_write(tmp_path, "a,b\nx,y\n", "labels.csv"), ["truth"])


# --- guessing how a file is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "header_found", "delimiter", "encoding"),
    [
        (b"a,b\n1,2\n", True, ",", "utf-8"),
        (b"1;2;tcp\n3;4;udp\n", False, ";", "utf-8"),
        (b"a\tb\n1\tWeb Attack \x96 XSS\n", True, "\t", "cp1252"),
    ],
)
def test_a_file_is_sniffed(tmp_path, data, header_found, delimiter, encoding):
    found = sniff(_write(tmp_path, data))
    assert (found.header, found.delimiter, found.encoding) == (header_found, delimiter, encoding)


def test_columns_of_a_file_without_header_are_numbered_unless_a_schema_names_them(tmp_path):
    path = _write(tmp_path, "3,tcp,ok\n")
    assert column_names(path) == ["column_1", "column_2", "column_3"]
    assert column_names(path, BARE) == ["packets", "proto", "truth"]
