"""How fast the embedded store finds alerts: `python benchmarks/bench_alerts.py [ALERTS]`, 100,000 by default.

Prints for each question the median time of the first page and of the count that stops at 10,000, and of the portal's
whole answer without a filter.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from netwarden.flows.alert import Alert
from netwarden.portal.app import create_app
from netwarden.settings import Settings
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.filters import Range, Where
from netwarden.triage.decisions import decide, take_back

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPEATS = 15
QUESTIONS: dict[str, Where] = {
    "no filter": {},
    "state": {"state": "new"},
    "a state that none has": {"state": "duplicate"},
    "family": {"family": "probe"},
    "a rare family": {"family": "worm"},
    "verdict": {"verdict": "novel"},
    "score range": {"score": Range(at_least=0.999)},
    "time range": {"raised_at": Range(NOON + timedelta(seconds=100), NOON + timedelta(seconds=200))},
    "source": {"source": "10.0.0.7"},
    "busiest source": {"source": "10.0.0.1", "state": "new"},
    "target and port": {"target": "10.1.0.9", "target_port": 22},
    "port": {"target_port": 22},
    "sensor": {"sensor": "edge"},
    "family and score": {"family": "probe", "score": Range(at_least=0.99)},
}


def main() -> None:
    """Print a line for each question."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, closing(EmbeddedAlertStore(Path(folder) / "alerts.sqlite")) as store:
        fill_s = _time(lambda: store.add(_alerts(rows)), 1)
        print(f"{rows:,} alerts added in {fill_s:.1f} s")
        for name, where in QUESTIONS.items():
            page_ms = 1000 * _time(lambda: store.find(where), REPEATS)  # noqa: B023 - called at once
            count_ms = 1000 * _time(lambda: store.count(where, at_most=10_001), REPEATS)  # noqa: B023 - called at once
            print(f"{name:24} page {page_ms:7.1f} ms   count {count_ms:6.1f} ms")
        print(f"{'the page in the portal':24} {1000 * asyncio.run(_portal_page_s(Path(folder))):12.1f} ms")
        started = time.perf_counter()
        act = decide(store, {"family": "probe"}, "false_positive", who="bench", at=datetime.now(UTC), chosen="probe")
        decided_s = time.perf_counter() - started
        undo_s = _time(lambda: take_back(store, act.act_id, who="bench", at=datetime.now(UTC)), 1)
        print(f"{act.changed:,} alerts triaged in {decided_s:.2f} s, undone in {undo_s:.2f} s")


async def _portal_page_s(home: Path) -> float:
    """Median seconds of /alerts, rendered, without a network between."""
    app = create_app(Settings.model_validate({"workspace": ROOT, "home": home, "datasets": home}))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    taken = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for _ in range(REPEATS):
            started = time.perf_counter()
            answer = await client.get("/alerts", headers={"Accept": "text/html"})
            taken.append(time.perf_counter() - started)
            answer.raise_for_status()
    app.state.alerts.close()
    return statistics.median(taken)


def _time(act: Callable[[], object], repeats: int) -> float:
    """Median seconds."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _alerts(rows: int) -> list[Alert]:
    draw = random.Random(7)  # noqa: S311 - made-up alerts
    features = {f"feature_{number}": draw.random() for number in range(80)}
    return [
        Alert(
            alert_id=f"{draw.getrandbits(128):032x}",
            flow_id=f"{draw.getrandbits(128):032x}",
            bundle_id="65ed956f64122dc2",
            schema_id="netwarden_flow",
            origin="live",
            sensor=draw.choice(("edge", "core")),
            raised_at=NOON + timedelta(milliseconds=10 * number),
            started_at=NOON + timedelta(milliseconds=10 * number),
            score=draw.random(),
            threshold=0.0,
            verdict="novel" if draw.random() < 0.1 else "known_attack",
            family="worm" if draw.random() < 0.0002 else draw.choice(("dos", "dos", "dos", "probe")),
            source="10.0.0.1" if draw.random() < 0.5 else f"10.0.0.{draw.randrange(2, 200)}",
            source_port=draw.randrange(1024, 65_536),
            target=f"10.1.0.{draw.randrange(30)}",
            target_port=draw.choice((22, 80, 443, 8080)),
            protocol=6,
            features=features,
        )
        for number in range(rows)
    ]


if __name__ == "__main__":
    main()
