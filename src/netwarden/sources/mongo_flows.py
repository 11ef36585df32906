"""Flow rows in MongoDB: a collection per dataset, a document per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from netwarden.flows.schema import LABEL, ROW_ID, SPLIT
from netwarden.sources import layout
from netwarden.sources.mongo import Document, Mongo
from netwarden.sources.store import DatasetSummary, InsertReport, RejectedRow

_DATASETS, _QUARANTINE = "datasets", "quarantine"
_DOCUMENTS = 4096  # turned into Arrow at a time: as dictionaries they are large
_STORED_NAME = str.maketrans({".": "\uff0e", "$": "\uff04"})  # MongoDB's queries read these two as operators


class MongoFlowStore:
    """FlowStore in a MongoDB database.

    Columns keep their names (but for `.` and `$`) and values; a null is a field left out, a time is microseconds since
    1970 because MongoDB's own dates stop at milliseconds. Writes are unordered inserts by row id, safe to repeat.
    """

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    @property
    def address(self) -> str:
        return self._mongo.address

    def close(self) -> None:
        self._mongo.close()

    # --- writing ----------------------------------------------------------------------------------------------

    def insert(self, dataset: str, schema_id: str, rows: Any) -> InsertReport:
        """Add an Arrow table with the reserved columns; rows whose row_id is known are skipped and counted."""
        if rows.num_rows == 0:
            return InsertReport(0, 0)
        fixed = self._fixed_layout(layout.check_name(dataset), schema_id, rows)
        table = layout.fit(rows, fixed, dataset)
        inserted = 0
        for start in range(0, table.num_rows, _DOCUMENTS):
            documents = _documents(table.slice(start, _DOCUMENTS))
            inserted += self._mongo.add_new(self._rows(dataset), documents)
        return InsertReport(inserted, table.num_rows - inserted)

    def _fixed_layout(self, dataset: str, schema_id: str, rows: Any) -> Any:
        found = self._dataset(dataset)
        if found is None:
            packed = layout.pack_layout(layout.layout_of(rows))
            with self._mongo.explained():
                self._rows(dataset).create_index([(SPLIT, 1), (LABEL, 1)])
            self._mongo.add_one(
                self._mongo.collection(_DATASETS), {"_id": dataset, "schema_id": schema_id, "layout": packed}
            )
            found = self._require(dataset)
        if found["schema_id"] != schema_id:
            raise layout.other_schema(dataset, found["schema_id"], schema_id)
        layout.row_ids(rows)
        return layout.unpack_layout(found["layout"])

    def quarantine(self, dataset: str, rows: Sequence[RejectedRow]) -> None:
        """Keep rejected rows; the same file and line again replaces the earlier entry."""
        layout.check_name(dataset)
        entries = [{"_id": f"{dataset}/{row.file}:{row.line}", "dataset": dataset, **asdict(row)} for row in rows]
        self._mongo.replace_all(self._mongo.collection(_QUARANTINE), entries)

    def drop(self, dataset: str) -> int:
        """Remove a dataset and its quarantine; returns the rows removed."""
        with self._mongo.explained():
            rows = int(self._rows(dataset).count_documents({}))
            self._mongo.collection(_DATASETS).delete_one({"_id": dataset})
            self._rows(dataset).drop()
            self._mongo.collection(_QUARANTINE).delete_many({"dataset": dataset})
        return rows

    # --- reading ----------------------------------------------------------------------------------------------

    def scan(self, dataset: str, split: str | None = None, batch_rows: int = 65_536) -> Iterator[Any]:
        """Arrow tables of all rows, of one column layout, in no promised order; bounded memory."""
        fixed = layout.unpack_layout(self._require(dataset)["layout"])
        return layout.rebatch(self._stored(dataset, fixed, split), batch_rows)

    def _stored(self, dataset: str, fixed: Any, split: str | None) -> Iterator[Any]:
        chosen: Document = {}
        if split is not None:
            chosen = {SPLIT: split or None}  # no split at all is kept as no field
        with self._mongo.explained(), self._rows(dataset).find(chosen, batch_size=_DOCUMENTS) as documents:
            for piece in _pieces(documents):
                yield _table(piece, fixed)

    def quarantined(self, dataset: str, limit: int = 100, behind: tuple[str, int] | None = None) -> list[RejectedRow]:
        """Rejected rows in order of file and line, those behind a file and line where given."""
        if limit == 0:
            return []  # which means all of them to MongoDB
        with self._mongo.explained():
            found = self._mongo.collection(_QUARANTINE).find({"dataset": dataset, **_behind(behind)})
            rows = found.sort([("file", 1), ("line", 1)]).limit(limit)
            return [RejectedRow(row["file"], row["line"], row["reason"], row["text"]) for row in rows]

    def summary(self, dataset: str) -> DatasetSummary:
        """Counts and content hash. Raises NotFoundError where the dataset is not there."""
        schema_id = self._require(dataset)["schema_id"]
        with self._mongo.explained():
            rejected = self._mongo.collection(_QUARANTINE).count_documents({"dataset": dataset})
            return DatasetSummary(
                dataset,
                schema_id,
                self._counts(dataset, SPLIT),
                {label: rows for label, rows in self._counts(dataset, LABEL).items() if label},
                rejected,
                self._content_hash(dataset),
            )

    def _counts(self, dataset: str, column: str) -> dict[str, int]:
        groups = self._rows(dataset).aggregate([{"$group": {"_id": f"${column}", "rows": {"$sum": 1}}}])
        return dict(sorted((group["_id"] or "", group["rows"]) for group in groups))

    def _content_hash(self, dataset: str) -> str:
        total, rows = bytes(layout.ID_BYTES), 0
        for piece in _pieces(self._rows(dataset).find({}, {"_id": 1}, batch_size=_DOCUMENTS)):
            total = layout.add_ids(total, [document["_id"] for document in piece])
            rows += len(piece)
        return layout.content_hash_of(total, rows)

    def datasets(self) -> list[str]:
        """Names, sorted."""
        with self._mongo.explained():
            return sorted(entry["_id"] for entry in self._mongo.collection(_DATASETS).find({}, {"_id": 1}))

    def _dataset(self, name: str) -> Document | None:
        with self._mongo.explained():
            return self._mongo.collection(_DATASETS).find_one({"_id": name})

    def _require(self, name: str) -> Document:
        found = self._dataset(name)
        if found is None:
            raise layout.no_dataset(name, self.address, self.datasets())
        return found

    def _rows(self, dataset: str) -> Any:
        return self._mongo.collection(f"flows.{dataset}")


def _documents(table: Any) -> list[Document]:
    names = ["_id" if name == ROW_ID else name.translate(_STORED_NAME) for name in table.column_names]
    columns = [_storable(column).to_pylist() for column in table.columns]
    rows = zip(*columns, strict=True)
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]


def _table(documents: list[Document], fixed: Any) -> Any:
    columns = []
    for field in fixed:
        name = "_id" if field.name == ROW_ID else field.name.translate(_STORED_NAME)
        kept = pa.int64() if pa.types.is_timestamp(field.type) else field.type
        columns.append(pa.array([document.get(name) for document in documents], kept).cast(field.type))
    return pa.Table.from_arrays(columns, schema=fixed)


def _storable(column: Any) -> Any:
    return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column


def _pieces(documents: Iterable[Document]) -> Iterator[list[Document]]:
    piece: list[Document] = []
    for document in documents:
        piece.append(document)
        if len(piece) == _DOCUMENTS:
            yield piece
            piece = []
    if piece:
        yield piece


def _behind(place: tuple[str, int] | None) -> dict[str, Any]:
    if place is None:
        return {}
    file, line = place
    return {"$or": [{"file": {"$gt": file}}, {"file": file, "line": {"$gt": line}}]}
