"""The local engine and Spark on the same flows: equal scores, both rates, and from which size on a cluster is quicker.

    NETWARDEN_DATA=... python benchmarks/bench_spark.py [--rows 5000000] [--files 1] [--slots 2] [--folder F [--once]]

The lake is a folder of Parquet files of KDDTrain+'s rows over and over; the local engine scores them one after the
other, Spark the growing lake, turn by turn and each in a process of its own, so that with more files its Java virtual
machine warms up more often. Spark's rate leaves out its start, which is given apart. With `--folder`, what is scored is
kept, and a call that was killed goes on; with `--once`, a call ends after one file, to be called again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench_batch import flow_file, hybrid, score
from bench_scoring import ROOT
from figures import record

_RUN = """
import json, sys, time
born = time.perf_counter()
from netwarden.scoring.spark import score_lake
from netwarden.settings import load_settings
source, target, bundle, slots = sys.argv[1:]
report = score_lake(load_settings(), source, target, bundle=bundle, conf={"spark.master": f"local[{slots}]"})
whole = time.perf_counter() - born
print(json.dumps({"rows": report.rows - report.kept, "seconds": report.seconds, "start_s": whole - report.seconds}))
"""
_JUDGED = ("score", "verdict", "family", "threshold")


def main() -> None:
    """Measure, compare, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        bundle, files = hybrid(folder), lake(folder, options.rows, options.files)
        kept = folder / "turns.jsonl"
        for number, file in enumerate(files, start=1):
            if len(_lines(kept)) >= number:
                continue
            mine = score(file, bundle)
            spark = json.loads(_spark(folder, bundle, options.slots, number).stdout)
            with kept.open("a", encoding="utf-8") as turns:
                turns.write(json.dumps({"local_s": mine.seconds, **spark}) + "\n")
            if options.once and number < len(files):
                print(f"{number} of {len(files)} files scored; call again")
                return
        _compare(folder, files)
        _record(_lines(kept), options)


def lake(folder: Path, rows: int, files: int) -> list[Path]:
    """Files of a lake, each with its share of the rows."""
    one = flow_file(folder, rows // files)
    (folder / "lake").mkdir(exist_ok=True)
    paths = [folder / "lake" / f"{number}.parquet" for number in range(1, files + 1)]
    for path in paths:
        if not path.exists():
            os.link(one, path)
    return paths


def _spark(folder: Path, bundle: Path, slots: int, files: int) -> subprocess.CompletedProcess[str]:
    """Spark on the first so many files of the lake: those scored before stay."""
    seen = folder / "seen"
    seen.mkdir(exist_ok=True)
    for number in range(1, files + 1):
        if not (seen / f"{number}.parquet").exists():
            os.link(folder / "lake" / f"{number}.parquet", seen / f"{number}.parquet")
    command = [sys.executable, "-c", _RUN, str(seen), str(folder / "scored"), str(bundle), str(slots)]
    env = os.environ | {"NETWARDEN_WORKSPACE": str(ROOT)}
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)


def _compare(folder: Path, files: list[Path]) -> None:
    """Fail unless Spark scored each row once and as the local engine did, to the last bit."""
    scored = pq.read_table(folder / "scored" / "scores", columns=["file", "row", *_JUDGED])
    for file in files:
        mine = pq.read_table(file.with_name(f"scores-{file.name}"), columns=["row", *_JUDGED])
        theirs = scored.filter(pc.match_substring(scored["file"], f"/{file.name}")).sort_by("row")
        assert theirs.select(["row", *_JUDGED]).combine_chunks().equals(mine.combine_chunks()), file
    print(f"{len(scored):,} rows, each once, all scores equal bit for bit")


def _record(turns: list[dict[str, float]], options: argparse.Namespace) -> None:
    rows = sum(turn["rows"] for turn in turns)
    local, spark = (rows / sum(turn[name] for turn in turns) for name in ("local_s", "seconds"))
    start_s = sorted(turn["start_s"] for turn in turns)[len(turns) // 2]
    name = f"Spark local[{options.slots}], {rows:,.0f} flows"
    record(
        "spark",
        f"local engine, {rows:,.0f} flows",
        local,
        "flows/s",
        cores=len(os.sched_getaffinity(0)),
        files=options.files,
    )
    record("spark", name, spark, "flows/s", {"the local engine": spark / local}, files=options.files)
    record("spark", "start of Spark and of Python", start_s, "s")
    for times in (2, 4, 8, 16):  # a cluster with so many times the cores, if its rate grows as much: not measured
        gain = 1 / local - 1 / (times * spark)
        if gain > 0:
            record("spark", f"flows from which {times} x the cores win (extrapolated)", start_s / gain, "flows")


def _lines(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
