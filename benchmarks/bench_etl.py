"""How fast NSL-KDD goes into the embedded store, and in how much memory, beside reading it as CSV and nothing more.

    NETWARDEN_DATA=... python benchmarks/bench_etl.py

Every measurement is a process of its own, the best of three; ratios are to bare pyarrow CSV reading in this run.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.csv as pacsv
from figures import record

from netwarden.settings import Settings
from netwarden.sources.etl import run_etl

ROOT = Path(__file__).parents[1]
ROUNDS = 3


def main() -> None:
    """Measure, print and keep the figures."""
    if len(sys.argv) == 3:
        print(json.dumps(MEASUREMENTS[sys.argv[1]](Path(sys.argv[2]))))
        return
    if "NETWARDEN_DATA" not in os.environ:
        raise SystemExit("NETWARDEN_DATA is not set: it names the folder that holds nsl-kdd/")
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: best_of(name, Path(scratch)) for name in MEASUREMENTS}
    bare = found["csv_read"]
    for name, run in found.items():
        record("etl", f"{name} speed on one core", run["rows"] / run["cpu_s"], "rows/CPU s")
        speed, ratio = run["rows"] / run["seconds"], bare["seconds"] / run["seconds"]
        record("etl", f"{name} speed", speed, "rows/s", {"csv_read speed": ratio})
        record(
            "etl",
            f"{name} peak memory",
            run["peak_mb"],
            "MB",
            {"csv_read peak memory": run["peak_mb"] / bare["peak_mb"]},
        )


def best_of(name: str, scratch: Path) -> dict[str, float]:
    """The quickest of some rounds, each in a fresh process."""
    command = [sys.executable, __file__, name, str(scratch)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout.splitlines()[-1])
        for _ in range(ROUNDS)
    ]
    return min(runs, key=lambda run: float(run["seconds"]))


def csv_read(_scratch: Path) -> dict[str, float]:
    """Bare pyarrow: both files, decompressed and typed by inference."""
    began = _clocks()
    rows = 0
    for path in _files():
        with gzip.open(path) as stream:
            rows += pacsv.read_csv(stream, read_options=pacsv.ReadOptions(autogenerate_column_names=True)).num_rows
    return _result(rows, began)


def etl_load(scratch: Path) -> dict[str, float]:
    """Into an empty embedded store, validation and row ids included."""
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        return _load(Path(home))


def etl_reload(scratch: Path) -> dict[str, float]:
    """The same again, when every row is known."""
    home = scratch / "kept"
    if not home.exists():
        _load(home)
    return _load(home)


MEASUREMENTS = {"csv_read": csv_read, "etl_load": etl_load, "etl_reload": etl_reload}


def _load(home: Path) -> dict[str, float]:
    workspace = home / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    if not (workspace / "schema").exists():
        (workspace / "schema").symlink_to(ROOT / "schema")
    settings = Settings(workspace=workspace, home=home, datasets=Path(os.environ["NETWARDEN_DATA"]))
    began = _clocks()
    return _result(run_etl(settings, [], dataset="nsl_kdd").read, began)


def _files() -> list[Path]:
    return sorted(Path(os.environ["NETWARDEN_DATA"]).glob("nsl-kdd/KDDT*+.txt.gz"))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _result(rows: int, began: tuple[float, float]) -> dict[str, float]:
    seconds, cpu_s = (now - then for now, then in zip(_clocks(), began, strict=True))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": rows, "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb}


if __name__ == "__main__":
    main()
