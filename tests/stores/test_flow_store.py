"""What every flow store promises."""

from collections.abc import Iterator

import pyarrow as pa
import pytest

from netwarden.errors import NotFoundError, StoreError
from netwarden.settings import Settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.store import FlowStore, InsertReport, RejectedRow
from tests.stores.rows import flow_rows, row_id, stored


@pytest.fixture
def store(settings: Settings) -> Iterator[FlowStore]:
    store = open_flow_store(settings)
    yield store
    store.close()


def test_rows_come_back_as_they_went_in(store):
    rows = flow_rows(range(100))
    assert store.insert("made_up", "s", rows) == InsertReport(100, 0)
    assert stored(store, "made_up") == rows.to_pylist()


def test_the_column_layout_of_a_scan_is_that_of_the_first_insert(store):
    rows = flow_rows(range(3))
    store.insert("made_up", "s", rows)
    store.insert("made_up", "s", flow_rows([3]).select(list(reversed(rows.column_names))))
    assert all(table.schema.equals(rows.schema) for table in store.scan("made_up"))


def test_rows_that_are_known_are_skipped_and_counted(store):
    store.insert("made_up", "s", flow_rows(range(10)))
    assert store.insert("made_up", "s", flow_rows(range(5, 15))) == InsertReport(5, 5)
    assert store.insert("made_up", "s", flow_rows(range(15))) == InsertReport(0, 15)
    assert [row["source_line"] for row in stored(store, "made_up")] == list(range(15))


def test_a_row_twice_in_one_insert_is_kept_once(store):
    assert store.insert("made_up", "s", flow_rows([1, 2, 1])) == InsertReport(2, 1)
    assert [row["source_line"] for row in stored(store, "made_up")] == [1, 2]


def test_no_rows_at_all_change_nothing(store):
    assert store.insert("made_up", "s", flow_rows([])) == InsertReport(0, 0)
    assert store.datasets() == []


def test_a_scan_may_ask_for_one_split(store):
    store.insert("made_up", "s", pa.concat_tables([flow_rows(range(4)), flow_rows(range(4, 6), split="test")]))
    assert [row["source_line"] for row in stored(store, "made_up", split="test")] == [4, 5]
    assert stored(store, "made_up", split="other") == []


def test_rows_without_a_split_are_found_under_the_empty_one(store):
    rows = flow_rows(range(3))
    nulls = rows.set_column(rows.column_names.index("split"), "split", pa.nulls(3, pa.string()))
    store.insert("made_up", "s", nulls)
    store.insert("made_up", "s", flow_rows([3]))
    assert [row["source_line"] for row in stored(store, "made_up", split="")] == [0, 1, 2]
    assert store.summary("made_up").rows == {"": 3, "train": 1}


def test_a_scan_comes_in_batches_of_the_size_asked_for(store):
    for start in range(0, 100, 20):
        store.insert("made_up", "s", flow_rows(range(start, start + 20)))
    assert [table.num_rows for table in store.scan("made_up", batch_rows=30)] == [30, 30, 30, 10]


def test_the_summary_counts_rows_labels_and_rejected_rows(store):
    store.insert("made_up", "s", flow_rows(range(4)))
    store.insert("made_up", "s", flow_rows(range(4, 6), split="test", label="neptune"))
    store.quarantine("made_up", [RejectedRow("a.csv", 7, "too short")])
    summary = store.summary("made_up")
    assert (summary.dataset, summary.schema_id) == ("made_up", "s")
    assert summary.rows == {"test": 2, "train": 4}
    assert summary.labels == {"benign": 4, "neptune": 2}
    assert summary.quarantined == 1


def test_the_content_hash_tells_the_set_of_rows_and_not_their_order(store):
    store.insert("one", "s", flow_rows(range(6)))
    store.insert("two", "s", flow_rows([5, 4, 3]))
    store.insert("two", "s", flow_rows([0, 2, 1, 5]))
    store.insert("three", "s", flow_rows(range(5)))
    one, two, three = (store.summary(name).content_hash for name in ("one", "two", "three"))
    assert one == two != three


def test_the_content_hash_is_the_same_in_every_backend(store):
    store.insert("made_up", "s", flow_rows(range(6)))
    assert store.summary("made_up").content_hash == "f4b6c3aa5a8aa1a8dcecf16797dc5ba8"


def test_datasets_are_apart_and_listed(store):
    store.insert("two", "s", flow_rows([1]))
    store.insert("one", "s", flow_rows([1, 2]))
    assert store.datasets() == ["one", "two"]
    assert store.summary("two").rows == {"train": 1}


def test_a_dropped_dataset_is_gone_with_its_quarantine_and_may_come_back(store):
    store.insert("made_up", "s", flow_rows(range(10)))
    store.insert("other", "s", flow_rows(range(3)))
    store.quarantine("made_up", [RejectedRow("a.csv", 7, "too short")])
    assert store.drop("made_up") == 10
    assert store.datasets() == ["other"]
    assert store.quarantined("made_up") == []
    assert store.insert("made_up", "s", flow_rows(range(10))) == InsertReport(10, 0)


def test_dropping_what_is_not_there_drops_nothing(store):
    assert store.drop("nothing") == 0


def test_rejected_rows_come_in_order_and_replace_the_earlier_entry_of_their_line(store):
    store.quarantine("made_up", [RejectedRow("b.csv", 1, "first", "x,y"), RejectedRow("a.csv", 10, "ten")])
    store.quarantine("made_up", [RejectedRow("a.csv", 9, "nine"), RejectedRow("b.csv", 1, "second", "x")])
    assert store.quarantined("made_up") == [
        RejectedRow("a.csv", 9, "nine"),
        RejectedRow("a.csv", 10, "ten"),
        RejectedRow("b.csv", 1, "second", "x"),
    ]
    assert len(store.quarantined("made_up", limit=2)) == 2
    assert [row.reason for row in store.quarantined("made_up", behind=("a.csv", 9))] == ["ten", "second"]
    assert store.quarantined("made_up", behind=("b.csv", 1)) == []


def test_a_dataset_that_is_not_there_is_named_with_those_that_are(store):
    store.insert("made_up", "s", flow_rows([1]))
    with pytest.raises(NotFoundError, match=r"no dataset 'nsl_kdd' in .*; there are: made_up"):
        store.summary("nsl_kdd")
    with pytest.raises(NotFoundError, match="no dataset 'nsl_kdd'"):
        store.scan("nsl_kdd")


@pytest.mark.parametrize("name", ["", "a b", "../up", "$x", "x" * 101])
def test_a_dataset_name_that_some_store_cannot_hold_is_refused(store, name):
    with pytest.raises(StoreError, match="use up to 100 letters, digits"):
        store.insert(name, "s", flow_rows([1]))


def test_other_columns_than_the_first_insert_had_are_refused_by_name(store):
    store.insert("made_up", "s", flow_rows([1]))
    other = flow_rows([2]).rename_columns(["rate2" if n == "rate" else n for n in flow_rows([]).column_names])
    with pytest.raises(StoreError, match=r"missing \['rate'\], extra \['rate2'\].*first insert fixed them"):
        store.insert("made_up", "s", other)


def test_a_column_of_another_type_is_refused(store):
    store.insert("made_up", "s", flow_rows([1]))
    rows = flow_rows([2])
    words = rows.set_column(rows.column_names.index("src_bytes"), "src_bytes", pa.array(["many"]))
    with pytest.raises(StoreError, match="not of the type its first insert fixed"):
        store.insert("made_up", "s", words)


def test_another_schema_under_the_same_dataset_name_is_refused(store):
    store.insert("made_up", "nsl_kdd", flow_rows([1]))
    with pytest.raises(StoreError, match="holds rows of schema nsl_kdd, not cic_flow"):
        store.insert("made_up", "cic_flow", flow_rows([2]))


def test_rows_without_sixteen_byte_ids_are_refused(store):
    with pytest.raises(StoreError, match="no column 'row_id'"):
        store.insert("made_up", "s", flow_rows([1]).drop_columns(["row_id"]))
    rows = flow_rows([1, 2])
    gaps = rows.set_column(0, "row_id", pa.array([row_id(1), None], pa.binary(16)))
    with pytest.raises(StoreError, match="must hold 16 bytes in every row"):
        store.insert("made_up", "s", gaps)


def test_a_column_without_a_type_is_refused_since_it_would_stay_so(store):
    with pytest.raises(StoreError, match="column 'x' has no type"):
        store.insert("made_up", "s", flow_rows([1]).append_column("x", pa.nulls(1)))


def test_the_address_says_where_rows_go(store):
    assert store.address.startswith(("embedded store ", "MongoDB "))
