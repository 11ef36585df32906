"""How fast flows become stored alerts: a sensor, Redis and a worker process, on this machine.

    python benchmarks/bench_stream.py [--flows 200000] [--rate 2000] [--seconds 20] [--away 60]

Flows are made up after NSL-KDD's schema, 1 % of them alert, and the detector is a hybrid with default
parameters. The bare rate is `Scorer.score` alone in one thread, over the same flows in the same run; rates per
CPU-second count the worker's process alone. Redis keeps an append-only file; at the end it is killed, stays away for
some seconds under the same rate, and comes back.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
from figures import record
from threadpoolctl import threadpool_limits

from netwarden.detector_params import HybridParams
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from netwarden.sources.connect import open_alert_store, open_feed, open_queue
from netwarden.streaming.scored import read_scored
from netwarden.streaming.sensor import Sensor, Source, spool_folder

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.fixtures.bundles import made_up_flows, train_bundle  # noqa: E402 - found through the line above
from tests.streaming.faults import Stand, redis_and_worker, until  # noqa: E402

_ALERTS = 0.01
_PIECE = 16_384


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--away", type=float, default=60, help="seconds without Redis; 0: leave this out")
    options = parser.parse_args()
    schema = load_schema("nsl_kdd", ROOT / "schema")
    with tempfile.TemporaryDirectory() as folder:
        trained = made_up_flows(schema, 20_000, seed=1)
        bundle = train_bundle(Path(folder) / "bundle", schema, trained, kind="hybrid", params=HybridParams())
        scorer = Scorer(bundle, threads=1)
        flows = few_alerts(scorer, made_up_flows(schema, 60_000, seed=2), options.flows)
        bare = bare_rate(scorer, flows)
        with redis_and_worker(Path(folder), bundle, trained) as at:
            worker = psutil.Process(at.pid("worker a"))
            wait_for_first(at, flows)
            rate, per_cpu = loaded(at, worker, flows)
            latencies = quiet(at, flows, options.rate, options.seconds)
            both, share = shared(at, flows)
            outage = without_redis(at, flows, options.rate, options.away) if options.away else None
    record("stream", "bare Scorer.score, one thread", bare, "flows/s")
    record("stream", "one worker, loaded: flows to stored alerts", rate, "flows/s", flows=len(flows))
    record("stream", "the same per CPU-second of the worker", per_cpu, "flows/s", {"bare": per_cpu / bare})
    record("stream", "two workers, loaded", both, "flows/s", {"one": both / rate}, share_of_the_first=share)
    for part in (0.5, 0.99):
        name = f"sent to stored, {part:.0%} of flows at {options.rate:g}/s"
        record("stream", name, float(np.quantile(latencies, part)) * 1000, "ms")
    if outage is not None:
        record("stream", f"Redis away {options.away:g} s at {options.rate:g}/s: back to normal", outage[0], "s")
        record("stream", "memory that the sensor grew by meanwhile", outage[1], "MB")


def few_alerts(scorer: Scorer, pool: FlowTable, rows: int) -> FlowTable:
    """Flows, with ids, of which 1 % alert, drawn from a pool."""
    result = scorer.score(pool)
    alerting = np.asarray(result["score"]) >= np.asarray(result["threshold"])
    draw = np.random.default_rng(1)
    loud, quiet_ones = np.flatnonzero(alerting), np.flatnonzero(~alerting)
    wanted = int(rows * _ALERTS)
    places = np.concatenate([draw.choice(loud, wanted), draw.choice(quiet_ones, rows - wanted)])
    draw.shuffle(places)
    return FlowTable(pool.arrow.take(pa.array(places)).combine_chunks(), pool.schema_id)


def named(flows: FlowTable, prefix: str) -> FlowTable:
    ids = pa.array([f"{prefix}-{number}" for number in range(len(flows))])
    return FlowTable(flows.arrow.append_column("flow_id", ids), flows.schema_id)


def bare_rate(scorer: Scorer, flows: FlowTable) -> float:
    """Flows per CPU-second of Scorer.score alone."""
    with threadpool_limits(1, "blas"):  # as workers have it
        began = time.process_time()
        for start in range(0, len(flows), _PIECE):
            scorer.score(flows.slice(start, _PIECE))
        return len(flows) / (time.process_time() - began)


def wait_for_first(at: Stand, flows: FlowTable) -> None:
    """The worker has loaded its bundle and scored something."""
    send(at, named(flows.slice(0, 5000), "warm"))
    until(lambda: at.depth() == 0, "first flows", 120)


def loaded(at: Stand, worker: psutil.Process, flows: FlowTable) -> tuple[float, float]:
    """Flows a second from the first sent to the last stored, and per CPU-second of the worker."""
    ready, cpu = named(flows, "loaded"), cpu_s(worker)
    with closing(open_alert_store(at.deployment.settings)) as store:
        before, began = store.count(), time.perf_counter()
        send(at, ready)
        until(lambda: at.depth() == 0, "end of the queue", 300)
        seconds = time.perf_counter() - began
        assert store.count() - before == round(len(flows) * _ALERTS)
    return len(flows) / seconds, len(flows) / (cpu_s(worker) - cpu)


def quiet(at: Stand, flows: FlowTable, rate: float, seconds: float) -> Any:
    """Seconds from sent to stored of each flow at a rate."""
    feed = open_feed(at.deployment.settings)
    entries = feed.after("", 100_000, 0)
    ready = named(flows.slice(0, int(rate * seconds)), "quiet")
    send(at, ready, rate)
    until(lambda: at.depth() == 0, "end of the queue", 60)
    found = []
    for _, body in feed.after(entries[-1][0], 100_000, 0):
        batch = read_scored(body)
        found += [batch.delay_s] * len(batch)
    feed.close()
    assert len(found) == len(ready)
    return found


def shared(at: Stand, flows: FlowTable) -> tuple[float, float]:
    """Flows a second of two workers, each alert stored once, and the share of the flows that the first one scored."""
    first, second = at.programs["worker a"], at.programs["worker b"]
    second.start()
    until(lambda: bool(second.health().get("components")), "start of the second worker", 60)
    ready, before = named(flows, "shared"), first.health()["flows"]
    with closing(open_alert_store(at.deployment.settings)) as store:
        stored, began = store.count(), time.perf_counter()
        send(at, ready)
        until(lambda: at.depth() == 0, "end of the queue", 300)
        seconds = time.perf_counter() - began
        assert store.count() - stored == round(len(flows) * _ALERTS)
    done = first.health()["flows"] - before
    assert done + second.health()["flows"] == len(flows), "a flow was scored twice or never"
    second.kill()
    return len(flows) / seconds, done / len(flows)


def without_redis(at: Stand, flows: FlowTable, rate: float, seconds: float) -> tuple[float, float]:
    """Seconds from Redis's return until no flow waits, and MB that this process, the sensor, grew by meanwhile."""
    ready = named(flows.slice(0, int(rate * (seconds + 15))), "away")
    spool = spool_folder(at.deployment.settings)
    with closing(open_alert_store(at.deployment.settings)) as store:
        before = store.count()
        sender = threading.Thread(target=send, args=(at, ready, rate))
        sender.start()
        time.sleep(3)
        memory = psutil.Process().memory_info().rss
        at.programs["redis"].kill()
        time.sleep(seconds)
        grown = psutil.Process().memory_info().rss - memory
        at.programs["redis"].start()
        back_s = time.monotonic()
        until(lambda: not any(spool.glob("*.batch")) and at.depth() < 20, "recovery", 120)
        recovered_s = time.monotonic() - back_s
        sender.join()
        until(lambda: at.depth() == 0, "end of the queue", 60)
        stored = store.count() - before
    alerting = Scorer(at.deployment.bundle).score(ready)
    assert stored == int(np.sum(np.asarray(alerting["score"]) >= np.asarray(alerting["threshold"]))), "flows were lost"
    return recovered_s, grown / 1e6


def send(at: Stand, flows: FlowTable, rate: float = 0) -> None:
    settings = at.deployment.settings
    per_tick = max(1, int(rate * 0.01)) if rate else settings.stream.batch_rows

    def paced(stop: threading.Event) -> Iterator[tuple[FlowTable, int]]:
        began = time.monotonic()
        for start in range(0, len(flows), per_tick):
            if rate:
                stop.wait(max(0.0, began + start / rate - time.monotonic()))
            piece = flows.slice(start, per_tick)
            yield piece, start + len(piece)

    with closing(open_queue(settings)) as queue:
        Sensor(Source("replay", paced), queue, settings).run(threading.Event(), patience_s=300)


def cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
