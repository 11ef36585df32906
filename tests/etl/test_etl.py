"""From files to the embedded store: counts, idempotence, quarantine, manifest."""

import gzip

import pyarrow as pa
import pytest
import yaml

from netwarden.errors import InputError, NotFoundError, QuarantineError, SchemaError, StoreError
from netwarden.sources.connect import open_flow_store
from netwarden.sources.etl import EtlStep, read_manifest, run_etl, write_manifest
from netwarden.sources.row_ids import SeenRows, row_ids

SMALL = {
    "id": "small",
    "title": "made up",
    "columns": [
        {"name": "packets", "type": "int", "range": [0, None]},
        {"name": "proto", "type": "string", "open": True},
        {"name": "truth", "type": "string", "role": "label"},
    ],
    "label": {"binary": True, "benign": ["ok"], "attack": ["bad"]},
}


@pytest.fixture
def small(settings):
    """Writes a CSV of the made-up schema and returns its path."""
    (settings.schema_dir / "small.yaml").write_text(yaml.safe_dump(SMALL))

    def write(*lines, name="small.csv"):
        path = settings.datasets / name
        path.write_text("packets,proto,truth\n" + "".join(f"{line}\n" for line in lines))
        return path

    return write


def _stored(settings, dataset):
    store = open_flow_store(settings)
    try:
        return pa.concat_tables(list(store.scan(dataset))), store.quarantined(dataset)
    finally:
        store.close()


# --- NSL-KDD --------------------------------------------------------------------------------------------------


def test_every_row_goes_in_once_and_rows_that_both_splits_share_stay_in_both(settings, nsl_slice, nsl_lines):
    report = run_etl(settings, [], dataset="NSL-KDD")
    total = len(nsl_lines["train"]) + len(nsl_lines["test"])
    assert (report.read, report.inserted, report.known, report.duplicates) == (total, total, 0, 0)
    rows, quarantined = _stored(settings, "nsl_kdd")
    assert len(rows) == total and not quarantined
    splits = rows["split"].to_pylist()
    assert splits.count("train") == len(nsl_lines["train"]) and splits.count("test") == len(nsl_lines["test"])
    shared = set(nsl_lines["train"]) & set(nsl_lines["test"])
    assert len(shared) == 7


def test_a_second_run_inserts_nothing_and_leaves_the_manifest_as_it_was(settings, nsl_slice):
    first = run_etl(settings, [], dataset="nsl_kdd")
    manifest = settings.manifests_dir / "nsl_kdd.json"
    before = manifest.read_bytes()
    again = run_etl(settings, [nsl_slice], dataset="nsl_kdd", schema="nsl_kdd")
    assert (again.inserted, again.known, again.duplicates) == (0, first.inserted, 0)
    assert manifest.read_bytes() == before


@pytest.mark.slow
def test_the_whole_of_nsl_kdd_goes_in_once_and_fast(settings, nsl_kdd):
    given = settings.model_copy(update={"datasets": nsl_kdd.parent})
    first, again = run_etl(given, [], dataset="nsl-kdd"), run_etl(given, [], dataset="nsl-kdd")
    assert (first.read, first.inserted, first.duplicates, first.rejected.total()) == (148_517, 148_517, 0, 0)
    assert (again.inserted, again.known) == (0, 148_517)
    assert first.stored is not None and first.stored.rows == {"train": 125_973, "test": 22_544}
    assert first.read / first.seconds > 10_000, "25,000 on an idle machine; benchmarks/bench_etl.py measures it"


def test_the_kddtest21_view_is_left_out_and_said_so(settings, nsl_slice):
    report = run_etl(settings, [nsl_slice])
    assert report.dataset == "nsl_kdd" and report.schema_id == "nsl_kdd"
    assert report.not_loaded == ["KDDTest-21.txt (named by no split)"]
    with pytest.raises(InputError, match=r"KDDTest-21.txt: schema nsl_kdd tells splits by file name \(train: KDDTrain"):
        run_etl(settings, [nsl_slice / "KDDTest-21.txt"])


def test_rows_keep_where_they_came_from(settings, nsl_slice, nsl_lines):
    run_etl(settings, [], dataset="nsl_kdd")
    rows = _stored(settings, "nsl_kdd")[0].to_pylist()
    last = next(row for row in rows if row["source_file"] == "KDDTest+.txt" and row["source_line"] == 20)
    cells = nsl_lines["test"][19].strip().split(",")
    assert [str(last["duration"]), last["service"], str(last["difficulty"])] == [cells[0], cells[2], cells[42]]


def test_gzip_order_and_batch_size_do_not_change_what_is_stored(settings, nsl_slice, tmp_path):
    first = read_manifest(settings.manifests_dir, run_etl(settings, [], dataset="nsl_kdd").dataset)
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("KDDTrain+.txt", "KDDTest+.txt"):
        (packed / f"{name}.gz").write_bytes(gzip.compress((nsl_slice / name).read_bytes()))
    etl = settings.etl.model_copy(update={"batch_rows": 97})
    other = settings.model_copy(update={"home": tmp_path / "elsewhere", "etl": etl})
    paths = [packed / "KDDTrain+.txt.gz", packed / "KDDTest+.txt.gz"]
    run_etl(other, paths, dataset="nsl_kdd")
    assert read_manifest(settings.manifests_dir, "nsl_kdd") == first


def test_the_report_says_what_a_person_asks(settings, nsl_slice):
    run_etl(settings, [], dataset="nsl_kdd")
    text = str(run_etl(settings, [], dataset="nsl_kdd"))
    for line in ("dataset        nsl_kdd (schema nsl_kdd)", "rows in        0", "rejected       0"):
        assert line in text.splitlines()
    assert "already known  " in text and " rows/s (" in text and "nsl_kdd.json" in text


def test_the_first_step_tells_where_rows_go_and_the_last_that_all_is_read(settings, nsl_slice):
    steps: list[EtlStep] = []
    run_etl(settings, [], dataset="nsl_kdd", progress=steps.append)
    assert steps[0].store.startswith("embedded store") and steps[0].rows == 0
    assert steps[-1].fraction == pytest.approx(1.0)
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)


# --- bad rows -------------------------------------------------------------------------------------------------


def test_bad_rows_are_quarantined_with_file_line_and_reason_and_counted(settings, small):
    path = small(*["1,tcp,ok"] * 1, *[f"{n},udp,bad" for n in range(300)], "x,tcp,ok", "2,tcp,maybe")
    report = run_etl(settings, [path])
    assert report.inserted == 301
    assert dict(report.rejected) == {"packets: not a number": 1, "unknown label 'maybe'": 1}
    assert "rejected       2 (packets: not a number 1, unknown label 'maybe' 1)" in str(report)
    again = run_etl(settings, [path])
    quarantined = _stored(settings, "small")[1]
    assert again.inserted == 0 and len(quarantined) == 2
    assert (quarantined[0].file, quarantined[0].line, quarantined[0].text) == ("small.csv", 303, "x,tcp,ok")


def test_over_the_share_of_bad_rows_the_run_stops_and_says_what_stays(settings, small):
    path = small(*[f"{n},tcp,ok" for n in range(90)], *["x,tcp,ok"] * 10)
    message = (
        r"small.csv: 10 of 100 rows read are bad, where 1.0% of a file may be \(packets: not a number 10\)\. "
        r"They are in the quarantine; the 90 rows stored so far stay\. Is the file in another schema"
    )
    with pytest.raises(QuarantineError, match=message):
        run_etl(settings, [path])
    rows, quarantined = _stored(settings, "small")
    assert len(rows) == 90 and len(quarantined) == 10
    with pytest.raises(NotFoundError, match=r"no manifest of dataset 'small'.*python ETL.py --dataset small"):
        read_manifest(settings.manifests_dir, "small")


def test_a_wholly_wrong_file_stops_after_its_first_batch(settings, small):
    path = small(*["x,tcp,ok"] * 100_000)
    with pytest.raises(QuarantineError, match=r"small.csv: 8,19\d of 8,19\d rows read are bad"):
        run_etl(settings, [path])


def test_bad_rows_at_the_start_of_a_good_file_do_not_stop_it(settings, small):
    path = small(*["x,tcp,ok"] * 200, *[f"{n},tcp,ok" for n in range(30_000)])
    assert run_etl(settings, [path]).inserted == 30_000


# --- duplicates, splits and labels ----------------------------------------------------------------------------


def test_exact_duplicates_are_dropped_and_counted_apart_from_rows_known_before(settings, small):
    path = small("1,tcp,ok", "1,tcp,ok", "1,tcp,bad", " 1 ,tcp,ok")
    first, again = run_etl(settings, [path]), run_etl(settings, [path])
    assert (first.inserted, first.duplicates, first.known) == (2, 2, 0)
    assert (again.inserted, again.duplicates, again.known) == (0, 2, 2)


def test_a_schema_may_keep_duplicates_and_a_second_run_still_adds_nothing(settings, small):
    path = small("1,tcp,ok", "1,tcp,ok")
    (settings.schema_dir / "small.yaml").write_text(yaml.safe_dump(SMALL | {"duplicates": "keep"}))
    assert [run_etl(settings, [path]).inserted for _ in range(2)] == [2, 0]


def test_without_official_files_the_split_is_left_to_the_pipeline(settings, small):
    run_etl(settings, [small("1,tcp,ok", "2,tcp,bad")])
    rows = _stored(settings, "small")[0]
    assert rows["split"].to_pylist() == ["", ""]
    assert sorted(rows["family"].to_pylist()) == ["attack", "benign"]


def test_labels_may_stand_in_a_second_file(settings, small):
    flows = settings.datasets / "flows.csv"
    flows.write_text("packets,proto\n1,tcp\n2,udp\n")
    truth = settings.datasets / "truth.txt"
    truth.write_text("label\nok\nbad\n")
    run_etl(settings, [flows], schema="small", labels=truth)
    found = {row["packets"]: row["label"] for row in _stored(settings, "flows")[0].to_pylist()}
    assert found == {1: "benign", 2: "attack"}
    small()
    with pytest.raises(InputError, match="--labels goes with one file of flows, not with 3"):
        run_etl(settings, [settings.datasets], schema="small", labels=truth)


def test_a_dataset_keeps_its_schema(settings, small, nsl_slice):
    run_etl(settings, [small("1,tcp,ok")], dataset="mine")
    with pytest.raises(StoreError, match=r"dataset mine holds rows of schema small, these files are of nsl_kdd; give"):
        run_etl(settings, [nsl_slice], dataset="mine")


# --- what is asked for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to load: give files or folders, or --dataset"),
        ({"paths": ["nowhere.csv"]}, "nowhere.csv does not exist"),
        ({"paths": ["."], "dataset": "x"}, "no flow tables in .*; expected .csv, .txt, .log or .parquet files"),
        ({"dataset": "kdd99"}, "no public dataset 'kdd99'; known: lab, nsl_kdd, cic_ids2017"),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(settings, arguments, message):
    paths = [settings.datasets / name for name in arguments.get("paths", [])]
    with pytest.raises((InputError, NotFoundError), match=message):
        run_etl(settings, paths, dataset=arguments.get("dataset", ""))


def test_a_file_that_no_schema_knows_names_the_way_to_write_one(settings, tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text("colour,weight\nred,3\n")
    with pytest.raises(
        SchemaError, match=r"no schema fits these 2 columns.*netwarden schema draft FILE --label COLUMN"
    ):
        run_etl(settings, [path])
    path.write_text("red,3\n")
    with pytest.raises(SchemaError, match=r"odd.csv has no header line and fits no schema; name its schema with --sch"):
        run_etl(settings, [path])


def test_a_manifest_is_written_whole_and_a_damaged_one_is_refused(settings, small):
    run_etl(settings, [small("1,tcp,ok")])
    manifest = read_manifest(settings.manifests_dir, "small")
    assert (manifest.schema_id, manifest.rows, manifest.labels) == ("small", {"": 1}, {"benign": 1})
    path = write_manifest(settings.manifests_dir, manifest.model_copy(update={"dataset": "copy"}))
    assert [item.name for item in path.parent.iterdir() if item.suffix == ".tmp"] == []
    path.write_text('{"dataset": 1}')
    with pytest.raises(InputError, match=r"copy.json is no dataset manifest"):
        read_manifest(settings.manifests_dir, "copy")


# --- row ids --------------------------------------------------------------------------------------------------


def _table(**columns):
    return pa.table({name: pa.array(values) for name, values in columns.items()})


def test_a_row_id_depends_on_dataset_split_and_every_value_and_on_nothing_else():
    table = _table(x=[1, 1, 2, None, 0], y=["a", "b", "a", "a", None], z=[0.0, 0.5, -0.0, None, 0.0])
    ids = row_ids(table, "d", "train").to_pylist()
    assert len(set(ids)) == 5
    assert row_ids(table.slice(2, 2), "d", "train").to_pylist() == ids[2:4]
    assert not set(ids) & set(row_ids(table, "d", "test").to_pylist() + row_ids(table, "e", "train").to_pylist())
    assert row_ids(_table(x=[0], y=["a"], z=[-0.0]), "d", "").equals(row_ids(_table(x=[0], y=["a"], z=[0.0]), "d", ""))


def test_row_ids_stay_the_same_from_release_to_release():
    table = _table(x=[7, None], y=["tcp", None], z=[0.25, None], t=pa.array([1, None], pa.timestamp("us", "UTC")))
    assert [value.hex() for value in row_ids(table, "d", "train").to_pylist()] == [
        "78645ee85cfc485ac4e98d9f5dc2d54c",
        "0af1a7025b2144c335003394e5351417",
    ]


def test_seen_rows_are_told_from_new_ones_across_batches():
    seen = SeenRows()
    for batch, fresh in (([1, 2, 1], [True, True, False]), ([3, 2], [True, False]), ([], []), ([4], [True])):
        ids = row_ids(_table(x=pa.array(batch, pa.int64())), "d", "")
        assert seen.first_time(ids).tolist() == fresh
    many = row_ids(_table(x=list(range(1000, 9000))), "d", "")
    assert seen.first_time(many).all() and not seen.first_time(many.slice(17, 500)).any()
