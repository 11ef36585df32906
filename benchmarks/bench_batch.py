"""How fast a file is scored on one machine, and in how much memory, however long it is.

    NETWARDEN_DATA=... python benchmarks/bench_batch.py [--rows 20000000] [--small 500000] [--folder F --piece-s 200]

Rows are KDDTrain+'s over and over, the detector is a hybrid with the default parameters. Each run is a process of its
own. A rate counts from the first row read to the target in place, without the start of Python. With `--piece-s`, one
call scores the short file and then goes on with the long one for so long, interrupts it, and keeps what it measured in
the folder: call again until the long file is done. Both sides of each ratio then had the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from bench_scoring import ROOT, labelled_flows, train_bundle
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.flows.schema import load_schema
from netwarden.scoring.batch_report import Tally
from netwarden.scoring.journal import Journal

_RUN = """
import json, resource, sys, time
from pathlib import Path
from netwarden.scoring.batch import score_file
from netwarden.settings import load_settings

class Enough(BaseException):
    pass

def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def advance(share):
    if time.perf_counter() - started > float(sys.argv[4]):
        raise Enough

source, target, bundle, settings = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], load_settings()
started, before = time.perf_counter(), cpu_s()
try:
    score_file(settings, source, target, bundle=bundle, progress=advance)
except Enough:
    pass
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - started, "cpu_s": cpu_s() - before, "peak_mb": peak_mb}))
"""


@dataclass(frozen=True)
class Piece:
    """What one process did: rows that it scored, and what they took."""

    rows: int
    seconds: float
    cpu_s: float
    peak_mb: float


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--small", type=int, default=500_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--piece-s", type=float, default=float("inf"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        bundle = hybrid(folder)
        small, large = (flow_file(folder, rows) for rows in (options.small, options.rows))
        kept = folder / "pieces.jsonl"
        with kept.open("a", encoding="utf-8") as file:
            _target(small).unlink(missing_ok=True)
            for name, source, limit_s in (("short", small, float("inf")), ("long", large, options.piece_s)):
                file.write(json.dumps({"file": name, **asdict(score(source, bundle, limit_s))}) + "\n")
        if not _target(large).exists():
            print(f"{rows_so_far(large):,} of {options.rows:,} flows scored; call again")
            return
        assert pq.ParquetFile(_target(large)).metadata.num_rows == options.rows
        _record(options, [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()])
        for path in (_target(large), kept):
            path.unlink()


def _record(options: argparse.Namespace, pieces: list[dict[str, float | str]]) -> None:
    runs = {
        name: [Piece(**{k: v for k, v in each.items() if k != "file"}) for each in pieces if each["file"] == name]
        for name in ("short", "long")
    }
    short, long = (sum(each.rows for each in runs[name]) / sum(each.seconds for each in runs[name]) for name in runs)
    ratios = [b.rows / b.seconds * a.seconds / a.rows for a, b in zip(runs["short"], runs["long"], strict=True)]
    by_cpu = {name: sum(each.rows for each in runs[name]) / sum(each.cpu_s for each in runs[name]) for name in runs}
    facts = {"cores": len(os.sched_getaffinity(0)), "processes": len(ratios)}
    name = f"local engine, {options.rows:,} flows"
    record("batch", f"local engine, {options.small:,} flows", short, "flows/s", **facts)
    record("batch", name, long, "flows/s", {"the short file, same minutes": statistics.median(ratios)}, **facts)
    record(
        "batch", f"{name}, by CPU", by_cpu["long"], "flows/CPU-s", {"the short file": by_cpu["long"] / by_cpu["short"]}
    )
    for each, rows in (("short", options.small), ("long", options.rows)):
        record("batch", f"peak memory, {rows:,} flows", max(piece.peak_mb for piece in runs[each]), "MB")


def hybrid(folder: Path) -> Path:
    """Bundle of the default detector kind, fitted on KDDTrain+."""
    target = folder / "bundle"
    if not target.exists():
        schema = load_schema("nsl_kdd", ROOT / "schema")
        train_bundle(target, schema, labelled_flows(schema), kind="hybrid", params=HybridParams())
    return target


def flow_file(folder: Path, rows: int) -> Path:
    """Parquet file of so many flows: the same real ones over and over."""
    target = folder / f"flows-{rows}.parquet"
    if not target.exists():
        schema = load_schema("nsl_kdd", ROOT / "schema")
        table = labelled_flows(schema).arrow.select([column.name for column in schema.features])
        draft = target.with_suffix(".draft")
        with pq.ParquetWriter(draft, table.schema, compression="zstd") as writer:
            for start in range(0, rows, len(table)):
                writer.write_table(table.slice(0, rows - start))
        draft.rename(target)
    return target


def score(source: Path, bundle: Path, limit_s: float = float("inf")) -> Piece:
    """One run of the local engine in a process of its own, interrupted after so long."""
    before = rows_so_far(source)
    command = [sys.executable, "-c", _RUN, str(source), str(_target(source)), str(bundle), str(limit_s)]
    env = os.environ | {"NETWARDEN_WORKSPACE": str(ROOT)}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return Piece(rows_so_far(source) - before, **json.loads(done.stdout))


def rows_so_far(source: Path) -> int:
    """Rows of a file that are scored and safe."""
    if _target(source).exists():
        return int(pq.ParquetFile(_target(source)).metadata.num_rows)
    journal = Journal(_target(source).with_name(f".{_target(source).name}.parts"))
    return Tally.of_state(journal.state).rows if journal.folder.exists() else 0


def _target(source: Path) -> Path:
    return source.with_name(f"scores-{source.name}")


if __name__ == "__main__":
    main()
