"""The whole pipeline on NSL-KDD, from a loaded store to a registered bundle: time, memory, and where it goes.

    NETWARDEN_DATA=… python benchmarks/bench_pipeline.py [--share]

Loading the store is not counted. `--share` runs each stage once more under a sampling profiler.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from figures import record
from pyinstrument import Profiler

from netwarden.settings import load_settings
from netwarden.sources.etl import run_etl

ROOT = Path(__file__).parents[1]
STAGES = ("ingest", "validate", "transform", "train", "evaluate", "register")
DVC = [sys.executable, "-m", "dvc"]
_SAMPLE_S = 0.05


def main() -> None:
    """Measure in a workspace of its own, thrown away afterwards."""
    with tempfile.TemporaryDirectory(prefix="netwarden-bench-") as folder:
        workspace = _workspace(Path(folder) / "workspace")
        os.environ.update(
            NETWARDEN_WORKSPACE=str(workspace),
            BENTOML_HOME=str(Path(folder) / "bentoml"),
            PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        )
        run_etl(load_settings(), [], dataset="nsl-kdd")
        facts = {"cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0]}

        seconds, peak_mb = _watched([*DVC, "repro"], workspace)
        record("pipeline", "repro, store to registered bundle", seconds, "s", target=120, **facts)
        record("pipeline", "repro, peak memory of the process tree", peak_mb, "MB", target=2000, **facts)
        _no_op(workspace, facts)
        metrics = json.loads((workspace / "data/pipeline/evaluate/metrics.json").read_text())
        for name, figures in metrics.items():
            for figure in ("accuracy", "f1", "false_positive_rate", "roc_auc"):
                record("pipeline", f"{name} {figure}", figures[figure], "", **facts)
        if "--share" in sys.argv:
            _share(workspace, facts)


def _workspace(folder: Path) -> Path:
    for name in ("schema", "config", ".dvc/plots", "src/netwarden"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".dvc/config"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "config/nsl_kdd.json", folder / "params.json")
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    return folder


def _watched(command: list[str], workspace: Path) -> tuple[float, float]:
    """Seconds that a command took, and the most memory that it and its children held at a time."""
    peak, done = 0, threading.Event()
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=workspace, stdout=subprocess.DEVNULL) as process:
        root = psutil.Process(process.pid)

        def watch() -> None:
            nonlocal peak
            while not done.wait(_SAMPLE_S):
                peak = max(peak, _tree_bytes(root))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        done.set()
        watcher.join()
    assert code == 0
    return time.perf_counter() - started, peak / 1e6


def _tree_bytes(root: psutil.Process) -> int:
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total


def _no_op(workspace: Path, facts: dict[str, float]) -> None:
    """A repro with nothing to do, against DVC's own cost on six stages that depend on nothing of ours."""
    bare = workspace.parent / "bare"
    shutil.copytree(workspace / ".dvc", bare / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    stages = {stage: {"cmd": f"echo > {stage}", "outs": [stage]} for stage in STAGES}
    (bare / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    _watched([*DVC, "repro"], bare)
    fixed, ours = (min((_timed(folder) for _ in range(3)), key=lambda pair: pair[1]) for folder in (bare, workspace))
    record("pipeline", "no-op repro, six empty stages", fixed[0], "s", cpu_s=fixed[1], **facts)
    record(
        "pipeline", "no-op repro, ours", ours[0], "s", {"six empty stages": ours[0] / fixed[0]}, cpu_s=ours[1], **facts
    )
    # Processor time, because the wall clock also counts whoever else is at work on this machine.
    record("pipeline", "no-op repro, ours beyond DVC's own", ours[1] - fixed[1], "CPU s", target=1, **facts)


def _timed(folder: Path) -> tuple[float, float]:
    """Seconds by the wall clock and of processor time that a repro takes."""
    before = os.times()
    subprocess.run([*DVC, "repro", "--quiet"], cwd=folder, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return after.elapsed - before.elapsed, cpu


def _share(workspace: Path, facts: dict[str, float]) -> None:
    """Time that stages spend in lines of ours, libraries they call not counted, imports included in the whole."""
    own = whole = 0.0
    for stage in STAGES:
        shutil.rmtree(workspace / "data/pipeline" / stage / "bundle", ignore_errors=True)
        command = [sys.executable, __file__, "--profile", stage]
        run = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=True)
        figures = json.loads(run.stdout.splitlines()[-1])
        record("pipeline", f"{stage}, own frames", figures["own"] / figures["whole"], "of its time", **facts)
        own, whole = own + figures["own"], whole + figures["whole"]
    record("pipeline", "own frames, all stages", own / whole, "of their time", target=0.15, **facts)


def _profile(stage: str) -> None:
    """Print seconds of one stage, whole and in our own frames."""
    profiler = Profiler(interval=0.001)
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), profiler:
        module = __import__(f"netwarden.stages.{stage}", fromlist=["run"])
        from netwarden.params import load_params  # noqa: PLC0415 - imports count too

        settings = load_settings()
        module.run(settings, load_params(settings.workspace / "params.json"))
    own = sum(_own_seconds(root) for root in [profiler.last_session.root_frame()])
    print(json.dumps({"own": own, "whole": time.perf_counter() - started}))


def _own_seconds(frame: object) -> float:
    """Seconds in which a line of ours was the one at work."""
    ours = "/netwarden/" in (frame.file_path or "") and "site-packages" not in frame.file_path
    return (frame.total_self_time if ours else 0.0) + sum(_own_seconds(child) for child in frame.children)


if __name__ == "__main__":
    if "--profile" in sys.argv:
        _profile(sys.argv[-1])
    else:
        main()
