"""Kills a worker, the sensor, Redis or the store at random moments under load, and compares the store with the file.

    python -m tests.streaming.faults [--rounds 30] [--rate 250] [--store mongodb]

The test rows of a made-up dataset are replayed once; at the end the store must hold, id by id, what `Scorer.score`
gives for them. Every process is a real one, killed with SIGKILL.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.sources.connect import open_alert_store, open_queue
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, listening, script
from tests.streaming.conftest import Deployment, deploy, expected_alerts, stored_alerts

_START_S = 60.0
_READING_S = 300.0  # a sensor reads all rows of its dataset before it sends the first
_SMALL_BATCHES = "batch_rows: 200, claim_after_s: 1, max_deliveries: 100"


@dataclass
class Program:
    """A process that can be killed and started again; its output goes to one file."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0  # that it listens on once it is up
    health_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment
            )
        if self.port:
            until(lambda: listening(self.port), f"start of {self.name}", _START_S)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def health(self) -> dict[str, Any]:
        """What it says of itself; nothing while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/health", timeout=5) as answer:
                told = answer.read()
        except urllib.error.HTTPError as error:  # 503: not well
            with error:
                told = error.read()
        except OSError:
            return {}
        found: dict[str, Any] = json.loads(told)
        return found

    @property
    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None


def until(ready: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Return once ready() is true; TimeoutError saying what did not happen."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(0.05)


@dataclass(frozen=True)
class Stand:
    """A deployment with its processes."""

    deployment: Deployment
    programs: dict[str, Program]

    def pid(self, name: str) -> int:
        process = self.programs[name].process
        assert process is not None
        return process.pid

    def depth(self) -> int:
        with closing(open_queue(self.deployment.settings)) as queue:
            return queue.depth()


@contextmanager
def stand(folder: Path, *, flows: int, rate: float, store: str = "embedded") -> Iterator[Stand]:
    """Redis with an append-only file, two workers, a sensor that replays `flows` rows, and a store; none started."""
    ports = {name: free_port() for name in ("redis", "store")}
    environment = {"REDIS_URL": f"redis://127.0.0.1:{ports['redis']}/0", "NETWARDEN_LOG_FORMAT": "text"}
    if store == "mongodb":
        environment["MONGODB_URI"] = f"mongodb://127.0.0.1:{ports['store']}/netwarden"
    programs = {"redis": redis_program(folder, ports["redis"]), **_roles(folder, environment, rate)}
    if store == "mongodb":
        programs["store"] = _store(folder, ports["store"])
        programs["store"].start()
    try:
        yield Stand(_deployed(folder, flows, environment), programs)
    finally:
        for program in programs.values():
            program.kill()


@contextmanager
def redis_and_worker(folder: Path, bundle: DetectorBundle, flows: FlowTable) -> Iterator[Stand]:
    """Redis and one worker, started, and another that is not, for a bundle in charge; for benchmarks."""
    with _benched(folder, bundle, flows, ["worker a"], stream="feed_batches: 100000") as at:
        yield at


@contextmanager
def redis_worker_and_sensor(folder: Path, bundle: DetectorBundle, flows: FlowTable, rate: float) -> Iterator[Stand]:
    """The same with a sensor that replays the second half of the flows in a loop, all started."""
    with _benched(folder, bundle, flows, ["worker a", "sensor"], rate=rate, loop=True) as at:
        yield at


@contextmanager
def _benched(folder: Path, bundle: DetectorBundle, flows: FlowTable, names: list[str], **how: Any) -> Iterator[Stand]:
    port = free_port()
    environment = {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    deployment = deploy(folder / "home", flows, bundle, **environment)
    roles = _roles(folder, environment, **{"rate": 0, "stream": "", **how})
    programs = {"redis": redis_program(folder, port), **roles}
    try:
        for name in ["redis", *names]:
            programs[name].start()
        yield Stand(deployment, programs)
    finally:
        for program in programs.values():
            program.kill()


def _deployed(folder: Path, flows: int, environment: dict[str, str]) -> Deployment:
    schema = load_schema("nsl_kdd", ROOT / "schema")
    bundle = train_bundle(folder / "bundle", schema, made_up_flows(schema, 3000, seed=1))
    return deploy(folder / "home", made_up_flows(schema, 2 * flows, seed=3), bundle, **environment)


def redis_program(folder: Path, port: int) -> Program:
    """A Redis that keeps what it acknowledged."""
    program = shutil.which("redis-server") or "redis-server"
    (folder / "redis").mkdir()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "yes"]
    return Program("redis", [*command, "--dir", str(folder / "redis")], folder / "redis.log", dict(os.environ), port)


def _store(folder: Path, port: int) -> Program:
    command = [script("secantusd-py"), "--host", "127.0.0.1", "--port", str(port), "--cache-size", "128M"]
    storage = ["--storage-path", str(folder / "storage")]
    return Program("store", [*command, *storage], folder / "store.log", dict(os.environ), port)


def _roles(
    folder: Path, environment: dict[str, str], rate: float, stream: str = _SMALL_BATCHES, *, loop: bool = False
) -> dict[str, Program]:
    workspace(folder / "work", stream)
    replay = ["sensor", "--replay", "made_up", "--rate", str(rate), "--port", "0", *(["--loop"] if loop else [])]
    programs = {"sensor": netwarden_program(folder, "sensor", replay, environment)}
    for name in ("worker a", "worker b"):
        port = free_port()
        words = ["worker", "--port", str(port)]
        programs[name] = replace(netwarden_program(folder, name, words, environment), health_port=port)
    return programs


def netwarden_program(folder: Path, name: str, words: list[str], environment: dict[str, str]) -> Program:
    """`netwarden WORDS` with the home and the workspace of a folder, and nothing of our own environment's settings."""
    names = ("PATH", "HOME", "NUMBA_CACHE_DIR", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name in names}
    env = {**kept, **environment, "NETWARDEN_HOME": str(folder / "home"), "NETWARDEN_WORKSPACE": str(folder / "work")}
    command = [sys.executable, "-c", "from netwarden.cli import main; main()", *words]
    return Program(name, command, folder / f"{name}.log", env)


def workspace(folder: Path, stream: str = "") -> None:
    """A workspace of a sensor named `edge`, with more settings of the section `stream`."""
    (folder / "config").mkdir(parents=True)
    (folder / "schema").symlink_to(ROOT / "schema")
    config = f"stream: {{sensor: edge{stream and ', '}{stream}}}\nstore: {{timeout_s: 2}}\n"
    (folder / "config" / "netwarden.yaml").write_text(config)


def replay_under_fire(at: Stand, rounds: int, pause_s: float, seed: int = 1) -> str:
    """Start all, kill one of them in turn `rounds` times, wait for the end; AssertionError where the store differs."""
    chance = random.Random(seed)
    for program in at.programs.values():
        if program.exit_code is not None or program.process is None:
            program.start()
    with closing(open_alert_store(at.deployment.settings)) as store:
        until(lambda: store.count() > 0, "the first alert", _READING_S)
    names = [name for name in ("worker a", "redis", "sensor", "worker b", "store") if name in at.programs]
    killed: dict[str, int] = {}
    for number in range(rounds):
        time.sleep(pause_s * chance.uniform(0.5, 1.5))
        name = names[number % len(names)]
        if name == "sensor" and at.programs[name].exit_code == 0:
            continue  # it has sent everything
        at.programs[name].kill()
        at.programs[name].start()
        killed[name] = killed.get(name, 0) + 1
    until(lambda: at.programs["sensor"].exit_code is not None, "end of the replay", 600)
    assert at.programs["sensor"].exit_code == 0, at.programs["sensor"].log.read_text()[-2000:]
    until(lambda: at.depth() == 0, "end of the queue", 120)
    return _compared(at, killed)


def _compared(at: Stand, killed: dict[str, int]) -> str:
    expected = expected_alerts(at.deployment.flows, at.deployment.bundle)
    with closing(open_alert_store(at.deployment.settings)) as store:
        stored = stored_alerts(store)
    missing, extra = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    different = [key for key in expected.keys() & stored.keys() if expected[key] != stored[key]]
    counts = f"{len(at.deployment.flows):,} flows, {len(expected):,} alerts expected, {len(stored):,} stored"
    assert not (missing or extra or different), (
        f"{counts}: {len(missing)} missing, {len(extra)} too many, {len(different)} different"
    )
    return f"{counts}, id by id the same; {sum(killed.values())} kills: {killed}"


def main() -> None:
    """Run from the command line and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rate", type=float, default=250)
    parser.add_argument("--flows", type=int, default=40_000)
    parser.add_argument("--pause", type=float, default=3.0)
    parser.add_argument("--store", choices=("embedded", "mongodb"), default="embedded")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        stand(Path(folder), flows=options.flows, rate=options.rate, store=options.store) as at,
    ):
        try:
            print(replay_under_fire(at, options.rounds, options.pause))  # noqa: T201 - the figures
        except TimeoutError:
            for name, program in at.programs.items():
                print(f"--- {name}\n{program.log.read_text()[-3000:]}")  # noqa: T201 - why
            raise


if __name__ == "__main__":
    main()
