"""Made-up flow rows with the reserved columns, as ETL hands them to a store."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from netwarden.flows.table import content_hash


def flow_rows(numbers: Sequence[int], split: str = "train", label: str = "benign") -> Any:
    """An Arrow table of distinct rows; the same number gives the same row and row id."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "row_id": pa.array([row_id(number) for number in numbers], pa.binary(16)),
            "src_bytes": pa.array([number * 3_000_000_000 for number in numbers], pa.int64()),
            "rate": pa.array([None if number % 5 == 0 else number / 7 for number in numbers], pa.float64()),
            "id.orig_h": pa.array([f"10.0.0.{number % 250}" for number in numbers], pa.string()),
            "$service": pa.array([None if number % 3 == 0 else "http" for number in numbers], pa.string()),
            "seen_at": pa.array(
                [start + timedelta(microseconds=number) for number in numbers], pa.timestamp("us", "UTC")
            ),
            "label": pa.array([label] * len(numbers), pa.string()),
            "family": pa.array(["benign" if label == "benign" else "dos"] * len(numbers), pa.string()),
            "split": pa.array([split] * len(numbers), pa.string()),
            "source_file": pa.array(["made-up.csv"] * len(numbers), pa.string()),
            "source_line": pa.array(list(numbers), pa.int64()),
        }
    )


def row_id(number: int) -> bytes:
    return content_hash(b"made-up", str(number).encode())


def stored(store: Any, dataset: str, **options: Any) -> list[dict[str, Any]]:
    """All rows of a dataset, by their line."""
    rows = [row for table in store.scan(dataset, **options) for row in table.to_pylist()]
    return sorted(rows, key=lambda row: row["source_line"])
