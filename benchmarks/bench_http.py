"""How many people and programs one portal bears: 500 of them for two minutes on `netwarden serve`, on this machine.

    python benchmarks/bench_http.py [--users 500] [--seconds 120]

The portal is a process of its own on a loopback port, with a hybrid of default parameters, trained on made-up
flows, and some thousand stored alerts. The load is that of locustfile.py, on the same machine and so at the
same cores' cost. Any answer that is an error makes this fail.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.settings import load_settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry

ROOT = Path(__file__).parents[1]
_RAMP_S = 15  # until all users are there
sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import made_up_flows, train_bundle  # noqa: E402 - found through the line above
from tests.fixtures.servers import free_port, script  # noqa: E402


def main() -> None:
    """Measure, print and keep the figures; exit code 1 where an answer was an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=120)
    options = parser.parse_args()
    schema = load_schema("nsl_kdd", ROOT / "schema")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        flows = made_up_flows(schema, 20_000, seed=1)
        bundle = train_bundle(folder / "bundle", schema, flows, kind="hybrid", params=HybridParams())
        _write_flows(folder / "flows.jsonl", made_up_flows(schema, 3000, seed=2))
        with serving(folder, bundle) as (address, portal):
            _store_alerts(address, folder / "flows.jsonl")
            before = portal.cpu_times()
            failed = _load(address, folder, options.users, options.seconds)
            after = portal.cpu_times()
            _tell(folder, options.users, options.seconds, after.user + after.system - before.user - before.system)
            record("http", "memory of the portal", portal.memory_info().rss / 1e6, "MB")
    raise SystemExit(failed)


def _write_flows(path: Path, flows: FlowTable) -> None:
    rows = flows.arrow.drop_columns(["label"]).to_pylist()
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@contextmanager
def serving(folder: Path, bundle: DetectorBundle) -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of a portal with a champion, until the block ends."""
    env = {"NETWARDEN_WORKSPACE": str(ROOT), "NETWARDEN_HOME": str(folder / "home")}
    settings = load_settings(env)
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id)
    entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC))
    with closing(open_registry(settings)) as registry:
        registry.register(entry, who="bench", why="bench")
        registry.promote(bundle.bundle_id, who="bench", why="bench")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (folder / "portal.log").open("wb") as log:
        command = [script("netwarden"), "serve", "--port", str(port)]
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
    try:
        _until_ready(address, process)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{address}/ready", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            assert process.poll() is None, "the portal ended at once"
        time.sleep(0.2)
    raise SystemExit(f"the portal at {address} is not ready")


def _store_alerts(address: str, flows: Path) -> None:
    rows = [json.loads(line) for line in flows.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row.pop("family")
    answer = httpx.post(f"{address}/batch_score", json={"rows": rows}, timeout=120)
    answer.raise_for_status()
    record("http", "alerts stored beforehand", answer.json()["alerts"], "alerts")


def _load(address: str, folder: Path, users: int, seconds: int) -> int:
    command = [
        script("locust"),
        "--locustfile",
        str(ROOT / "benchmarks/locustfile.py"),
        "--host",
        address,
        "--headless",
    ]
    amount = [
        "--users",
        str(users),
        "--spawn-rate",
        str(max(users // _RAMP_S, 1)),
        "--run-time",
        f"{seconds + _RAMP_S}s",
    ]
    output = ["--csv", str(folder / "locust"), "--only-summary", "--stop-timeout", "20"]
    env = {**os.environ, "FLOWS": str(folder / "flows.jsonl"), "FOUND": str(folder / "found.json")}
    return subprocess.run([*command, *amount, *output], env=env, check=False, timeout=seconds + 120).returncode


def _tell(folder: Path, users: int, seconds: int, cpu_s: float) -> None:
    facts = {"users": users, "seconds": seconds, "cores": psutil.cpu_count()}
    with (folder / "locust_stats.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"{row['Type']} {row['Name']}".strip() if row["Name"] != "Aggregated" else "all requests"
            if int(row["Request Count"]) and "/live/events" not in name:  # a feed lasts as long as it is followed
                told = {"requests": int(row["Request Count"]), "median_ms": float(row["Median Response Time"])}
                record("http", f"p95 {name}", float(row["95%"]), "ms", **facts, **told)
            if name == "all requests":
                record("http", "CPU of the portal a request", cpu_s * 1e3 / int(row["Request Count"]), "ms", **facts)
                record("http", "requests", float(row["Requests/s"]), "1/s", **facts)
                record("http", "errors", int(row["Failure Count"]), "answers", **facts)
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    record("http", "injected attacks seen", found["attacks seen"] / max(found["attacks"], 1), "of them", **found)
    record("http", "CPU of the portal", cpu_s / (seconds + _RAMP_S), "cores", **facts)


if __name__ == "__main__":
    main()
