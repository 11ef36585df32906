"""How fast the API scores, on this machine: server and client share its cores.

    python benchmarks/bench_api.py [--seconds 10] [--rate 200] [--clients 64] [--rows 50000]

Flows are made up after NSL-KDD's schema, 1 % of them alert and are stored, and the detector is a hybrid with
default parameters. The server is a process of its own, the client this one. `POST /score`: times at a steady
rate, counted from when a request was due; then as many requests a second as the clients get, beside those of an empty
JSON endpoint of the same server in the same run. `POST /batch_score` with Arrow: rows a second beside those of
`Scorer.score` alone.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.portal.app import create_app
from netwarden.portal.server import leave_to_stay, listen, server_of
from netwarden.scoring.scorer import Scorer
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.bench_stream import few_alerts  # noqa: E402 - found through the line above
from tests.fixtures.bundles import made_up_flows, train_bundle  # noqa: E402

_ARROW = "application/vnd.apache.arrow.stream"
_WARM = 200  # requests before anything is measured
_LANES = 32  # connections of the steady rate


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rows", type=int, default=50_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings, scorer, flows = prepared(Path(folder), options.rows)
        with multiprocessing.get_context("spawn").Manager() as manager:
            ports = manager.Queue()
            server = multiprocessing.get_context("spawn").Process(target=serve, args=(settings, ports), daemon=True)
            server.start()
            try:
                figures = measured(ports.get(timeout=120), scorer, flows, options)
            finally:
                server.terminate()
                server.join(10)
    record("api", "POST /score, median", figures["median"], "ms", rate=options.rate)
    record("api", "POST /score, p99", figures["p99"], "ms", rate=options.rate)
    record("api", "POST /empty", figures["empty"], "requests/s", clients=options.clients)
    ratio = {"empty": figures["score"] / figures["empty"]}
    record("api", "POST /score", figures["score"], "requests/s", ratio, clients=options.clients)
    record("api", "Scorer.score alone", figures["scorer"], "flows/s", rows=options.rows)
    ratio = {"Scorer.score": figures["batch"] / figures["scorer"]}
    record("api", "POST /batch_score, Arrow", figures["batch"], "flows/s", ratio, rows=options.rows)


def prepared(folder: Path, rows: int) -> tuple[Settings, Scorer, FlowTable]:
    """A deployment with a hybrid in charge, its scorer, and flows to send."""
    schema = load_schema("nsl_kdd", ROOT / "schema")
    trained = made_up_flows(schema, 20_000, seed=1)
    bundle = train_bundle(folder / "bundle", schema, trained, kind="hybrid", params=HybridParams())
    settings = Settings(workspace=ROOT, home=folder / "home", datasets=folder / "datasets")
    shutil.copytree(bundle.folder, settings.bundles_dir / bundle.bundle_id)
    with closing(open_registry(settings)) as registry:
        entry = BundleEntry(bundle.bundle_id, bundle.schema_id, bundle.bundle_id, datetime.now(UTC))
        registry.register(entry, who="bench", why="bench")
        registry.promote(bundle.bundle_id, who="bench", why="bench")
    scorer = Scorer(bundle)
    flows = few_alerts(scorer, made_up_flows(schema, 60_000, seed=2), rows)
    return settings, scorer, FlowTable(flows.arrow.drop_columns(["label", "family"]), schema.id)


def serve(settings: Settings, ports: multiprocessing.Queue[int]) -> None:
    """The portal with one more address, which does nothing."""
    from fastapi import Request  # noqa: PLC0415 - of the server's process alone

    app = create_app(settings)

    async def empty(request: Request) -> dict[str, str]:
        await request.json()
        return {}

    empty.__annotations__ = {"request": Request, "return": dict}
    app.add_api_route("/empty", empty, methods=["POST"])
    server = server_of(app, "127.0.0.1", 0, grace_s=1)
    listener = listen(server)
    ports.put(listener.getsockname()[1])
    leave_to_stay()
    server.run([listener])


def measured(port: int, scorer: Scorer, flows: FlowTable, options: argparse.Namespace) -> dict[str, float]:
    """All figures of one server."""
    bodies = [json.dumps(row).encode() for row in flows.slice(0, 5000).arrow.to_pylist()]
    asyncio.run(many(port, "/score", bodies, 8, count=_WARM))
    leave_to_stay()  # the client's own pauses are none of the server's
    took = asyncio.run(steady(port, bodies, options.rate, options.seconds))
    empty = asyncio.run(many(port, "/empty", bodies, options.clients, seconds=options.seconds / 2))
    score = asyncio.run(many(port, "/score", bodies, options.clients, seconds=options.seconds / 2))
    alone, batch = batches(port, scorer, flows)
    return {
        "median": float(np.median(took) * 1e3),
        "p99": float(np.quantile(took, 0.99) * 1e3),
        "empty": empty,
        "score": score,
        "scorer": alone,
        "batch": batch,
    }


class Lane:
    """One kept connection: HTTP/1.1 written by hand, since a library's client costs more than the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> Lane:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes) -> None:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self._writer.write(head.encode() + b"\r\n\r\n" + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200"), answer
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(int(length.partition(b":")[2]))

    def close(self) -> None:
        self._writer.close()


async def steady(port: int, bodies: list[bytes], rate: float, seconds: float) -> list[float]:
    """Seconds that each request took from when it was due, at a steady rate."""
    lanes: asyncio.Queue[Lane] = asyncio.Queue()
    for _ in range(_LANES):
        lanes.put_nowait(await Lane.to(port))
    took: list[float] = []

    async def one(body: bytes, due: float) -> None:
        lane = await lanes.get()
        await lane.post("/score", body)
        took.append(time.perf_counter() - due)
        lanes.put_nowait(lane)

    begun = time.perf_counter()
    tasks = []
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(bodies[number % len(bodies)], due)))
    await asyncio.gather(*tasks)
    while not lanes.empty():
        lanes.get_nowait().close()
    return took


async def many(port: int, path: str, bodies: list[bytes], clients: int, seconds: float = 0.0, count: int = 0) -> float:
    """Requests a second that so many clients get, each asking again as soon as it is answered."""
    begun, done = time.perf_counter(), 0

    async def client(number: int) -> None:
        nonlocal done
        lane = await Lane.to(port)
        while done < count if count else time.perf_counter() - begun < seconds:
            await lane.post(path, bodies[(number * 997 + done) % len(bodies)])
            done += 1
        lane.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return done / (time.perf_counter() - begun)


def batches(port: int, scorer: Scorer, flows: FlowTable) -> tuple[float, float]:
    """Rows a second of the scorer alone, and through the API; the best of several."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, flows.arrow.schema) as writer:
        writer.write_table(flows.arrow)
    alone, through = [], []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        for _ in range(5):
            begun = time.perf_counter()
            scorer.score(flows)
            alone.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            answer = client.post("/batch_score", content=sink.getvalue(), headers={"Content-Type": _ARROW})
            through.append(time.perf_counter() - begun)
            assert pa.ipc.open_stream(answer.content).read_all().num_rows == len(flows)
    return len(flows) / min(alone), len(flows) / min(through)


if __name__ == "__main__":
    main()
