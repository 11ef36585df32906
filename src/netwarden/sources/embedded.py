"""Flow rows in one SQLite file: packed Arrow batches beside an index of row ids.

Several processes write at once, and a kill at any moment leaves whole transactions only. Rows are packed outside the
transaction, and a transaction takes only as many as fit well within 50 ms, so that no writer waits long.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import StoreError
from netwarden.flows.schema import LABEL, SPLIT
from netwarden.sources import layout
from netwarden.sources.sqlite import Database
from netwarden.sources.store import DatasetSummary, InsertReport, RejectedRow

_TABLES = """
CREATE TABLE IF NOT EXISTS datasets (
  dataset_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, schema_id TEXT NOT NULL,
  layout BLOB NOT NULL, id_sum BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS row_ids (
  dataset_id INTEGER NOT NULL, row_id BLOB NOT NULL, PRIMARY KEY (dataset_id, row_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
  batch_id INTEGER PRIMARY KEY AUTOINCREMENT, dataset_id INTEGER NOT NULL, split TEXT NOT NULL,
  rows INTEGER NOT NULL, packed BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batches_by_split ON batches (dataset_id, split, rows);
CREATE TABLE IF NOT EXISTS label_counts (
  dataset_id INTEGER NOT NULL, label TEXT NOT NULL, rows INTEGER NOT NULL, PRIMARY KEY (dataset_id, label));
CREATE TABLE IF NOT EXISTS quarantine (
  dataset TEXT NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL, text TEXT NOT NULL,
  PRIMARY KEY (dataset, file, line)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dropped (dataset_id INTEGER PRIMARY KEY)
"""
_FEWEST_ROWS, _MOST_ROWS = 1024, 8192  # of one transaction
_SLOW_S, _QUICK_S = 0.040, 0.015  # a transaction slower than that halves the next, a quicker one doubles it
_SWEEP_ROWS, _SWEEP_BATCHES = 4096, 64  # deleted at a time
_LOOKUP_IDS = 8192  # parameters of one query; SQLite allows 32,766


@dataclass(frozen=True)
class _Dataset:
    dataset_id: int
    name: str
    schema_id: str
    layout: Any


class EmbeddedFlowStore:
    """FlowStore in one file. Each piece of up to 8,192 rows of an insert is kept whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _TABLES, durable=False)  # a power cut costs the last rows; load them again
        self._piece_rows = _MOST_ROWS // 2

    @property
    def address(self) -> str:
        return f"embedded store {self._database.path}"

    def close(self) -> None:
        self._database.close()

    # --- writing ----------------------------------------------------------------------------------------------

    def insert(self, dataset: str, schema_id: str, rows: Any) -> InsertReport:
        """Add an Arrow table with the reserved columns; rows whose row_id is known are skipped and counted."""
        if rows.num_rows == 0:
            return InsertReport(0, 0)
        target = self._target(layout.check_name(dataset), schema_id, rows)
        table = layout.fit(rows, target.layout, dataset)
        inserted = start = 0
        while start < table.num_rows:
            piece = table.slice(start, self._piece_rows)
            inserted += self._insert_piece(target, piece)
            start += piece.num_rows
        return InsertReport(inserted, table.num_rows - inserted)

    def _target(self, name: str, schema_id: str, rows: Any) -> _Dataset:
        found = self._dataset(name)
        if found is None:
            packed = layout.pack_layout(layout.layout_of(rows))
            with self._database.write() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO datasets (name, schema_id, layout, id_sum) VALUES (?, ?, ?, ?)",
                    (name, schema_id, packed, bytes(layout.ID_BYTES)),
                )
            found = self._require(name)
        if found.schema_id != schema_id:
            raise layout.other_schema(name, found.schema_id, schema_id)
        return found

    def _insert_piece(self, target: _Dataset, piece: Any) -> int:
        table, ids = layout.first_rows(piece, layout.row_ids(piece), set())
        while ids:
            try:
                self._write(target, table, ids)
            except sqlite3.IntegrityError:  # some are known, perhaps only since a moment ago: leave those out
                table, ids = layout.first_rows(table, ids, self._known(target.dataset_id, ids))
            else:
                return len(ids)
        return 0

    def _write(self, target: _Dataset, table: Any, ids: list[bytes]) -> None:
        key = target.dataset_id
        batches = [(key, split, part.num_rows, _pack(part)) for split, part in _by_split(table)]
        labels = [(key, label, rows) for label, rows in layout.counts(table, LABEL).items() if label]
        with self._database.write() as connection:
            began = time.perf_counter()
            found = connection.execute("SELECT id_sum FROM datasets WHERE dataset_id = ?", (key,)).fetchone()
            if found is None:
                raise StoreError(f"dataset {target.name} was dropped while rows were being added to it")
            connection.executemany("INSERT INTO row_ids VALUES (?, ?)", [(key, row) for row in sorted(ids)])
            connection.executemany("INSERT INTO batches (dataset_id, split, rows, packed) VALUES (?, ?, ?, ?)", batches)
            connection.executemany(
                "INSERT INTO label_counts VALUES (?, ?, ?) "
                "ON CONFLICT (dataset_id, label) DO UPDATE SET rows = rows + excluded.rows",
                labels,
            )
            connection.execute(
                "UPDATE datasets SET id_sum = ? WHERE dataset_id = ?", (layout.add_ids(found[0], ids), key)
            )
        self._adapt(time.perf_counter() - began)

    def _adapt(self, took_s: float) -> None:
        if took_s > _SLOW_S:
            self._piece_rows = max(_FEWEST_ROWS, self._piece_rows // 2)
        elif took_s < _QUICK_S:
            self._piece_rows = min(_MOST_ROWS, self._piece_rows * 2)

    def _known(self, dataset_id: int, ids: list[bytes]) -> set[bytes]:
        query = "SELECT row_id FROM row_ids WHERE dataset_id = ? AND row_id IN ({})"
        known: set[bytes] = set()
        with self._database.read() as connection:
            for start in range(0, len(ids), _LOOKUP_IDS):
                asked = ids[start : start + _LOOKUP_IDS]
                marks = ",".join("?" * len(asked))
                known.update(row for (row,) in connection.execute(query.format(marks), (dataset_id, *asked)))
        return known

    def quarantine(self, dataset: str, rows: Sequence[RejectedRow]) -> None:
        """Keep rejected rows; the same file and line again replaces the earlier entry."""
        layout.check_name(dataset)
        entries = [(dataset, row.file, row.line, row.reason, row.text) for row in rows]
        for start in range(0, len(entries), _SWEEP_ROWS):
            with self._database.write() as connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?, ?)", entries[start : start + _SWEEP_ROWS]
                )

    def drop(self, dataset: str) -> int:
        """Remove a dataset and its quarantine; returns the rows removed.

        It is gone after the first transaction; its pages are freed in small ones, finished by the next drop if killed.
        """
        found = self._dataset(dataset)
        rows = sum(self._rows(found.dataset_id).values()) if found else 0
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO dropped SELECT dataset_id FROM datasets WHERE name = ?", (dataset,)
            )
            connection.execute("DELETE FROM datasets WHERE name = ?", (dataset,))
            connection.execute("DELETE FROM quarantine WHERE dataset = ?", (dataset,))
        self._sweep()
        return rows

    def _sweep(self) -> None:
        with self._database.read() as connection:
            keys = [key for (key,) in connection.execute("SELECT dataset_id FROM dropped")]
        for key in keys:
            self._delete_pieces(
                "DELETE FROM batches WHERE batch_id IN (SELECT batch_id FROM batches WHERE dataset_id = ? LIMIT ?)",
                (key, _SWEEP_BATCHES),
            )
            self._delete_pieces(
                "DELETE FROM row_ids WHERE dataset_id = ?1 AND row_id IN "
                "(SELECT row_id FROM row_ids WHERE dataset_id = ?1 LIMIT ?2)",
                (key, _SWEEP_ROWS),
            )
            with self._database.write() as connection:
                connection.execute("DELETE FROM label_counts WHERE dataset_id = ?", (key,))
                connection.execute("DELETE FROM dropped WHERE dataset_id = ?", (key,))

    def _delete_pieces(self, statement: str, values: tuple[int, int]) -> None:
        removed = 1
        while removed:
            with self._database.write() as connection:
                removed = connection.execute(statement, values).rowcount

    # --- reading ----------------------------------------------------------------------------------------------

    def scan(self, dataset: str, split: str | None = None, batch_rows: int = 65_536) -> Iterator[Any]:
        """Arrow tables of all rows, of one column layout, in no promised order; bounded memory."""
        return layout.rebatch(self._stored(self._require(dataset), split), batch_rows)

    def _stored(self, found: _Dataset, split: str | None) -> Iterator[Any]:
        """Stored tables as of now: a transaction is open only while one is fetched, and later inserts are left out."""
        query = "SELECT batch_id FROM batches WHERE dataset_id = ?1 AND (?2 IS NULL OR split = ?2) ORDER BY batch_id"
        with self._database.read() as connection:
            batch_ids = [row for (row,) in connection.execute(query, (found.dataset_id, split))]
        for batch_id in batch_ids:
            with self._database.read() as connection:
                row = connection.execute("SELECT packed FROM batches WHERE batch_id = ?", (batch_id,)).fetchone()
            if row is None:
                raise StoreError(f"dataset {found.name} was dropped while it was being read")
            yield pa.ipc.open_stream(row[0]).read_all()

    def quarantined(self, dataset: str, limit: int = 100, behind: tuple[str, int] | None = None) -> list[RejectedRow]:
        """Rejected rows in order of file and line, those behind a file and line where given."""
        query = (
            "SELECT file, line, reason, text FROM quarantine WHERE dataset = ? AND (file, line) > (?, ?) "
            "ORDER BY file, line LIMIT ?"
        )
        with self._database.read() as connection:
            return [RejectedRow(*row) for row in connection.execute(query, (dataset, *(behind or ("", -1)), limit))]

    def summary(self, dataset: str) -> DatasetSummary:
        """Counts and content hash. Raises NotFoundError where the dataset is not there."""
        found = self._require(dataset)
        key = found.dataset_id
        rows = self._rows(key)
        with self._database.read() as connection:
            total = connection.execute("SELECT id_sum FROM datasets WHERE dataset_id = ?", (key,)).fetchone()
            labels = connection.execute(
                "SELECT label, rows FROM label_counts WHERE dataset_id = ? ORDER BY label", (key,)
            ).fetchall()
            rejected = connection.execute("SELECT COUNT(*) FROM quarantine WHERE dataset = ?", (dataset,)).fetchone()
        return DatasetSummary(
            dataset,
            found.schema_id,
            rows,
            dict(labels),
            rejected[0],
            layout.content_hash_of(total[0], sum(rows.values())),
        )

    def datasets(self) -> list[str]:
        """Names, sorted."""
        with self._database.read() as connection:
            return [name for (name,) in connection.execute("SELECT name FROM datasets ORDER BY name")]

    def _rows(self, dataset_id: int) -> dict[str, int]:
        query = "SELECT split, SUM(rows) FROM batches WHERE dataset_id = ? GROUP BY split ORDER BY split"
        with self._database.read() as connection:
            return dict(connection.execute(query, (dataset_id,)).fetchall())

    def _require(self, name: str) -> _Dataset:
        found = self._dataset(name)
        if found is None:
            raise layout.no_dataset(name, self.address, self.datasets())
        return found

    def _dataset(self, name: str) -> _Dataset | None:
        query = "SELECT dataset_id, name, schema_id, layout FROM datasets WHERE name = ?"
        with self._database.read() as connection:
            row = connection.execute(query, (name,)).fetchone()
        return _Dataset(row[0], row[1], row[2], layout.unpack_layout(row[3])) if row else None


def _by_split(table: Any) -> list[tuple[str, Any]]:
    splits = layout.counts(table, SPLIT) or {"": table.num_rows}
    if len(splits) == 1:
        return [(next(iter(splits)), table)]
    column = pc.fill_null(table.column(SPLIT), "")
    return [(split, table.filter(pc.equal(column, split))) for split in splits]


def _pack(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return bytes(sink.getvalue())
