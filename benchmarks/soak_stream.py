"""Memory and latency of sensor, Redis and worker over an hour under load: `make soak-hour`.

    python benchmarks/soak_stream.py [--minutes 60] [--rate 5000] [--small]

Test rows of a made-up NSL-KDD, of which 1 % alert, are replayed in a loop by a sensor, scored by a worker with the
default hybrid (--small: a few trees, for a quick look) and stored in the embedded store. Each is a process of its own,
and Redis keeps an append-only file. A minute's figures are of the flows scored in it, from their sending until their
alerts were stored, and what each process holds in memory at its end. Afterwards the store must hold as many alerts as
`Scorer.score` gives for what was sent; exits 1 otherwise.
"""

from __future__ import annotations

import argparse
import re
import signal
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import figures
import numpy as np
import psutil
from bench_stream import ROOT, few_alerts
from figures import record

from netwarden.detector_params import HybridParams
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.scorer import Scorer
from netwarden.sources.connect import open_alert_store, open_feed
from netwarden.streaming.scored import read_scored
from tests.fixtures.bundles import SMALL_HYBRID, made_up_flows, train_bundle
from tests.streaming.faults import Stand, redis_worker_and_sensor, until

SUBJECT = "soak_stream"
_ROWS = 60_000  # of one pass
_WARM_S = 5.0  # from the first scored flow until the first minute begins


@dataclass
class Minute:
    """What was seen in one minute, as it goes on."""

    delays_ms: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    deepest: int = 0

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the flows took at most."""
        order = np.argsort(self.delays_ms)
        reached = np.cumsum(np.array(self.rows)[order])
        return float(np.array(self.delays_ms)[order][np.searchsorted(reached, share * reached[-1])])


@dataclass(frozen=True)
class Reading:
    """Figures of a minute that is over."""

    flows: int
    p50_ms: float
    p99_ms: float
    deepest_queue: int
    worker_mb: float
    sensor_mb: float
    redis_mb: float


def main() -> None:
    """Measure, print each minute, and fail where a flow or an alert is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--minute-s", type=float, default=60, help="how long a minute takes, for a quick look")
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--small", action="store_true", help="a hybrid of a few trees, and fewer rows")
    parser.add_argument("--results", type=Path, default=figures.RESULTS, help="folder that the figures are appended to")
    options = parser.parse_args()
    figures.RESULTS = options.results
    with tempfile.TemporaryDirectory() as folder:
        readings = soak(Path(folder), options.minutes, options.minute_s, options.rate, small=options.small)
    first, last = readings[0], readings[-1]
    facts = {"rate": options.rate, "minutes": options.minutes}
    for name in ("worker_mb", "sensor_mb", "redis_mb", "p50_ms", "p99_ms"):
        begun, ended = getattr(first, name), getattr(last, name)
        unit = {"mb": "MB", "ms": "ms"}[name[-2:]]
        record(SUBJECT, f"last minute: {name[:-3]}", ended, unit, {"first minute": ended / begun}, **facts)


def soak(folder: Path, minutes: int, minute_s: float, rate: float, *, small: bool) -> list[Reading]:
    """Readings of so many minutes under load, after which all that was sent is scored and stored."""
    schema = load_schema("nsl_kdd", ROOT / "schema")
    rows = 5000 if small else _ROWS
    params = SMALL_HYBRID if small else HybridParams()
    trained = made_up_flows(schema, 3000 if small else 20_000, seed=1)
    bundle = train_bundle(folder / "bundle", schema, trained, kind="hybrid", params=params)
    scorer = Scorer(bundle, threads=1)
    flows = few_alerts(scorer, made_up_flows(schema, rows, seed=2), 2 * rows)
    with redis_worker_and_sensor(folder, bundle, flows, rate) as at:
        readings, follower = [], Follower(at, min(_WARM_S, minute_s))
        for number in range(1, minutes + 1):
            readings.append(follower.minute(minute_s))
            told = asdict(readings[-1])
            record(SUBJECT, f"minute {number}: p99 from sent to stored", told.pop("p99_ms"), "ms", **told)
            print(told, flush=True)
        compare(at, scorer, stopped(at))
        follower.close()
    return readings


class Follower:
    """Reads the feed of scored flows, the depth of the queue and the processes' memory."""

    def __init__(self, at: Stand, warm_s: float) -> None:
        self._at = at
        self._feed = open_feed(at.deployment.settings)
        until(lambda: bool(self._feed.after("", 1, 0)), "the first scored flow", 120)
        time.sleep(warm_s)
        self._last = (self._feed.after("", 1_000_000, 0) or [("0", b"")])[-1][0]

    def minute(self, seconds: float) -> Reading:
        """What happens from now on for so many seconds."""
        seen, ends_s, look_s = Minute(), time.monotonic() + seconds, 0.0
        while time.monotonic() < ends_s:
            for entry_id, body in self._feed.after(self._last, 1000, 0.2):
                self._last, batch = entry_id, read_scored(body)
                seen.delays_ms.append(batch.delay_s * 1000)
                seen.rows.append(len(batch))
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + 1
                seen.deepest = max(seen.deepest, self._at.depth())
        memory = (self._memory_mb(name) for name in ("worker a", "sensor", "redis"))
        return Reading(sum(seen.rows), seen.quantile(0.5), seen.quantile(0.99), seen.deepest, *memory)

    def _memory_mb(self, name: str) -> float:
        resident: Any = psutil.Process(self._at.pid(name)).memory_info().rss
        return float(resident) / 1e6

    def close(self) -> None:
        self._feed.close()


def stopped(at: Stand) -> int:
    """How many flows the sensor says it sent, once it was told to stop and the worker has finished them."""
    sensor = at.programs["sensor"]
    assert sensor.process is not None
    sensor.process.send_signal(signal.SIGTERM)
    sensor.process.wait(60)
    until(lambda: at.depth() == 0, "end of the queue", 120)
    told = re.findall(r"([\d,]+) flows sent$", sensor.log.read_text().strip())
    assert told, f"the sensor did not say what it sent: {sensor.log.read_text()[-2000:]}"
    return int(told[0].replace(",", ""))


def compare(at: Stand, scorer: Scorer, sent: int) -> None:
    """Exit with what is missing where the store does not hold exactly the alerts of the flows sent."""
    alerting = alerts_in(scorer, at.deployment.flows)
    whole, rest = divmod(sent, len(alerting))
    expected = whole * int(alerting.sum()) + int(alerting[:rest].sum())
    with closing(open_alert_store(at.deployment.settings)) as store:
        stored = store.count()
    record(SUBJECT, "flows sent", sent, "flows", alerts_expected=expected, alerts_stored=stored)
    if stored != expected:
        raise SystemExit(f"{expected} alerts expected of {sent} flows, {stored} stored")


def alerts_in(scorer: Scorer, flows: FlowTable) -> Any:
    result = scorer.score(flows)
    return np.asarray(result["score"]) >= np.asarray(result["threshold"])


if __name__ == "__main__":
    main()
