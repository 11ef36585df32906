"""How fast a scored file of a million rows is filtered, sorted and paged: `python benchmarks/bench_upload_rows.py`."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from netwarden.portal.uploads import rows as upload_rows
from netwarden.portal.uploads.rows import RowQuery, find_rows, read_rows
from netwarden.portal.uploads.truth import truth_report
from netwarden.portal.uploads.uploads import ROWS, SUMMARY, TRUTH, TRUTH_SCHEMA, Upload, UploadSummary

_ROWS, _GROUP, _PAGE, _ROUNDS = 1_000_000, 32_768, 100, 5
_QUERIES = {
    "first page": RowQuery(),
    "alerts": RowQuery(show="alerts"),
    "one family": RowQuery(family="dos"),
    "missed attacks": RowQuery(show="missed"),
    "score range": RowQuery(score_from=0.4, score_to=0.5),
    "highest scores first": RowQuery(sort="score", down=True),
    "by source address": RowQuery(sort="src_ip"),
    "part of an address": RowQuery(q="10.0.3"),
}


def main() -> None:
    """Print the median of some rounds, each with nothing remembered, and of a further page of what was found."""
    with tempfile.TemporaryDirectory() as folder:
        upload = _made_up(Path(folder))
        for name, query in _QUERIES.items():
            found, paged = zip(*(_timed(upload, query) for _ in range(_ROUNDS)), strict=True)
            print(f"{name:22} {statistics.median(found):7.0f} ms, a further page {statistics.median(paged):5.0f} ms")
        started = time.perf_counter()
        truth_report(upload)
        print(f"{'truth report':22} {(time.perf_counter() - started) * 1000:7.0f} ms")


def _timed(upload: Upload, query: RowQuery) -> tuple[float, float]:
    upload_rows._found.cache_clear()
    started = time.perf_counter()
    positions = find_rows(upload, query)
    read_rows(upload, positions[:_PAGE])
    first = time.perf_counter()
    middle = len(positions) // 2
    read_rows(upload, find_rows(upload, query)[middle : middle + _PAGE])
    return (first - started) * 1000, (time.perf_counter() - first) * 1000


def _made_up(folder: Path) -> Upload:
    draw = np.random.default_rng(7)
    attack = draw.random(_ROWS) < 0.1
    score = np.where(attack, draw.beta(5, 2, _ROWS), draw.beta(1, 30, _ROWS))
    verdict = np.where(score < 0.5, "benign", np.where(draw.random(_ROWS) < 0.2, "novel", "known_attack"))
    family = pa.array(draw.choice(["dos", "probe", "r2l"], _ROWS), mask=verdict != "known_attack")
    hosts = np.array([f"10.0.{a}.{b}" for a in range(16) for b in range(250)])
    start = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1e6)
    rows = pa.table(
        {
            "row": np.arange(_ROWS),
            "verdict": verdict,
            "prediction": np.where(verdict == "benign", 0, -1).astype(np.int8),
            "score": score,
            "family": family,
            "started_at": pa.array(start + np.sort(draw.integers(0, 86_400_000_000, _ROWS)), pa.timestamp("us", "UTC")),
            "src_ip": draw.choice(hosts, _ROWS),
            "src_port": draw.integers(1024, 65_535, _ROWS),
            "dst_ip": draw.choice(hosts[:300], _ROWS),
            "dst_port": draw.choice([22, 53, 80, 443], _ROWS),
            "protocol": draw.choice([6, 17], _ROWS),
        }
    )
    truth = pa.table(
        {
            "row": np.arange(_ROWS),
            "label": np.where(attack, "neptune", "benign"),
            "family": np.where(attack, "dos", "benign"),
        }
    )
    pq.write_table(rows, folder / ROWS, row_group_size=_GROUP)
    pq.write_table(truth.cast(TRUTH_SCHEMA), folder / TRUTH, row_group_size=_GROUP)
    facts = {"id": "x", "name": "made-up.csv", "size_bytes": 0, "schema_id": "x", "bundle_id": "x", "threshold": 0.5}
    facts |= {"rows": _ROWS, "rejected": 0, "verdicts": {"benign": 0}, "families": {}, "unknown": {}, "seconds": 0}
    summary = UploadSummary.model_validate(facts | {"created_at": datetime.now(UTC)})
    (folder / SUMMARY).write_text(summary.model_dump_json())
    return Upload(folder)


if __name__ == "__main__":
    main()
