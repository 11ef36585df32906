"""The embedded stores under several processes, kills, damage and full folders."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwarden.errors import StoreError
from netwarden.sources.connect import open_alert_store, open_flow_store, open_registry
from netwarden.sources.embedded import EmbeddedFlowStore
from tests.fixtures.servers import wait_until
from tests.stores.rows import flow_rows, stored

ROOT = Path(__file__).parents[2]

_WRITER = """
import sys
from pathlib import Path
from netwarden.sources.embedded import EmbeddedFlowStore
from tests.stores.rows import flow_rows

store = EmbeddedFlowStore(Path(sys.argv[1]))
first, count = int(sys.argv[2]), int(sys.argv[3])
for start in range(first, first + count, 500):
    print(store.insert("made_up", "s", flow_rows(range(start, start + 500))).inserted, flush=True)
"""


def writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    """A process that adds rows number first … first + count, 500 at a time, and prints how many were new."""
    command = [sys.executable, "-c", _WRITER, str(path), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing_and_keep_shared_rows_once(tmp_path):
    path = tmp_path / "new" / "flows.sqlite"  # created by all of them at once
    writers = [writer(path, first, 4000) for first in (0, 2000, 4000)]
    printed = [process.communicate(timeout=60)[0] for process in writers]
    assert [process.returncode for process in writers] == [0, 0, 0]
    store = EmbeddedFlowStore(path)
    assert sum(int(line) for text in printed for line in text.split()) == 8000
    assert store.summary("made_up").rows == {"train": 8000}
    assert [row["source_line"] for row in stored(store, "made_up")] == list(range(8000))
    alone = EmbeddedFlowStore(tmp_path / "alone.sqlite")
    alone.insert("made_up", "s", flow_rows(range(8000)))
    assert alone.summary("made_up").content_hash == store.summary("made_up").content_hash


def test_a_writer_killed_at_any_moment_leaves_whole_transactions_and_a_rerun_completes_them(tmp_path):
    path = tmp_path / "flows.sqlite"
    for delay_s in (0.0, 0.013, 0.029, 0.047):
        process = writer(path, 0, 60_000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        store = EmbeddedFlowStore(path)
        rows = store.summary("made_up").rows["train"]
        assert rows == len(stored(store, "made_up")) == sum(store.summary("made_up").labels.values())
        assert rows < 60_000
        store.close()
    store = EmbeddedFlowStore(path)
    report = store.insert("made_up", "s", flow_rows(range(60_000)))
    assert report.inserted + report.known == 60_000
    assert store.summary("made_up").rows == {"train": 60_000}
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT COUNT(*) FROM row_ids").fetchone() == (60_000,)
    connection.close()


def test_a_reader_sees_the_rows_of_its_start_while_others_write(tmp_path):
    store = EmbeddedFlowStore(tmp_path / "flows.sqlite")
    store.insert("made_up", "s", flow_rows(range(100)))
    scan = store.scan("made_up", batch_rows=10)
    seen = next(scan).num_rows
    EmbeddedFlowStore(tmp_path / "flows.sqlite").insert("made_up", "s", flow_rows(range(100, 200)))
    assert seen + sum(table.num_rows for table in scan) == 100


def test_a_scan_of_a_dataset_that_is_dropped_meanwhile_does_not_end_as_if_it_were_whole(tmp_path):
    store = EmbeddedFlowStore(tmp_path / "flows.sqlite")
    for start in (0, 100):
        store.insert("made_up", "s", flow_rows(range(start, start + 100)))
    scan = store.scan("made_up", batch_rows=50)
    next(scan)
    store.drop("made_up")
    with pytest.raises(StoreError, match="dataset made_up was dropped while it was being read"):
        list(scan)


def test_a_drop_that_was_killed_is_finished_by_the_next(tmp_path):
    path = tmp_path / "flows.sqlite"
    store = EmbeddedFlowStore(path)
    store.insert("made_up", "s", flow_rows(range(100)))
    with sqlite3.connect(path) as connection:  # what a drop leaves that is killed after its first transaction
        connection.execute("INSERT INTO dropped SELECT dataset_id FROM datasets")
        connection.execute("DELETE FROM datasets")
    connection.close()
    assert store.datasets() == []
    assert store.insert("made_up", "s", flow_rows(range(50))).inserted == 50
    store.drop("other")
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM row_ids").fetchone() == (50,)
        assert connection.execute("SELECT COUNT(*) FROM dropped").fetchone() == (0,)
    connection.close()
    assert store.summary("made_up").rows == {"train": 50}


def test_a_transaction_that_takes_long_makes_the_next_smaller_and_a_quick_one_larger(tmp_path):
    store = EmbeddedFlowStore(tmp_path / "flows.sqlite")
    for _ in range(20):
        store._adapt(0.05)
    assert store._piece_rows == 1024
    for _ in range(20):
        store._adapt(0.001)
    assert store._piece_rows == 8192
    store._adapt(0.025)
    assert store._piece_rows == 8192


def test_a_large_insert_is_taken_in_pieces_and_none_is_lost_between_them(tmp_path):
    store = EmbeddedFlowStore(tmp_path / "flows.sqlite")
    store._piece_rows = 512
    store.insert("made_up", "s", flow_rows(range(500, 700)))
    report = store.insert("made_up", "s", flow_rows(range(3000)))
    assert (report.inserted, report.known) == (2800, 200)
    assert len(stored(store, "made_up")) == 3000


def test_a_file_that_is_no_store_is_named(tmp_path):
    path = tmp_path / "flows.sqlite"
    path.write_bytes(b"not a database, only text " * 100)
    with pytest.raises(StoreError, match=r"flows.sqlite: this is not a Netwarden store; move it away"):
        EmbeddedFlowStore(path).datasets()


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "flows.sqlite"
    store = EmbeddedFlowStore(path)
    store.insert("made_up", "s", flow_rows(range(5000)))
    store.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 8192))
    with pytest.raises(StoreError, match="the file is damaged; restore it from a backup"):
        stored(EmbeddedFlowStore(path), "made_up")


def test_a_file_of_a_newer_netwarden_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "flows.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"was written by a newer Netwarden \(layout 99\); update this one"):
        EmbeddedFlowStore(tmp_path / "flows.sqlite").datasets()


def test_a_home_that_is_a_file_is_named(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(StoreError, match=r"cannot create .*home: File exists; is NETWARDEN_HOME right"):
        EmbeddedFlowStore(tmp_path / "home" / "flows.sqlite").datasets()


def test_a_full_disk_is_named_and_what_was_there_stays(tmp_path):
    store = EmbeddedFlowStore(tmp_path / "flows.sqlite")
    store.insert("made_up", "s", flow_rows(range(100)))
    with store._database.read() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")  # this connection's disk ends here
    with pytest.raises(StoreError, match=r"flows.sqlite: the disk is full; free some space, then load again"):
        store.insert("made_up", "s", flow_rows(range(100, 4000)))
    assert store.summary("made_up").rows == {"train": 100}


def test_the_history_of_the_registry_cannot_be_changed_even_by_hand(embedded_settings):
    registry = open_registry(embedded_settings)
    assert registry.history() == []
    with sqlite3.connect(embedded_settings.home / "registry.sqlite") as connection:
        connection.execute("INSERT INTO events VALUES (0, '{}')")
        for statement in ("UPDATE events SET record = ''", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever appended to"):
                connection.execute(statement)
    connection.close()


def test_nothing_is_written_before_a_store_is_used(embedded_settings):
    for opener in (open_flow_store, open_alert_store, open_registry):
        opener(embedded_settings).close()
    assert not embedded_settings.home.exists()


def test_a_writer_waits_for_another_and_then_goes_on(tmp_path):
    path = tmp_path / "flows.sqlite"
    EmbeddedFlowStore(path).insert("made_up", "s", flow_rows([0]))
    blocking = sqlite3.connect(path, isolation_level=None)
    blocking.execute("BEGIN IMMEDIATE")
    process = writer(path, 0, 500)
    time.sleep(0.5)
    assert process.poll() is None
    blocking.execute("ROLLBACK")
    blocking.close()
    wait_until(lambda: process.poll() is not None, "end of the writer")
    assert process.communicate()[0].split() == ["499"]
