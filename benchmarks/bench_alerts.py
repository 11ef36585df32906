"""How fast the embedded store takes and finds alerts: `python benchmarks/bench_alerts.py --alerts 1000000`.

Prints, and appends to results/alerts.jsonl, the rate of adding and for each question the median time of the first page
and of the count that stops at 10,000; timelines, groups, a decision on many, and the portal's whole page. `--folder`
keeps the store there, so that a run of several minutes can be made in parts: `--fill-s` ends the filling after a while,
and questions are asked once all alerts are there. Alerts are of 80 features between 200 sources and 30 targets.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from figures import record

from netwarden.flows.alert import Alert
from netwarden.portal.app import create_app
from netwarden.settings import Settings
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.filters import SHOWN, Networks, Range, Where, Words
from netwarden.triage.decisions import decide, take_back
from netwarden.triage.suppression import hide

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPEATS = 15
AT_ONCE = 1000
QUESTIONS: dict[str, Where] = {
    "no filter": {},
    "nothing hidden": SHOWN,
    "state": {"state": "new"},
    "a state that none has": {"state": "duplicate"},
    "family": {"family": "probe"},
    "a rare family": {"family": "worm"},
    "verdict": {"verdict": "novel"},
    "protocol": {"protocol": 17},
    "port": {"target_port": 22},
    "sensor": {"sensor": "edge"},
    "source": {"source": "10.0.0.7"},
    "target": {"target": "10.1.0.9"},
    "network": {"source": Networks(("10.0.0.0/30",))},
    "score from 0.5": {"score": Range(at_least=0.5)},
    "score from 0.999": {"score": Range(at_least=0.999)},
    "score 0.2 to 0.3": {"score": Range(0.2, 0.3)},
    "100 seconds": {"raised_at": Range(NOON + timedelta(seconds=100), NOON + timedelta(seconds=200))},
    "busiest source, new": {"source": "10.0.0.1", "state": "new"},
    "target and port": {"target": "10.1.0.9", "target_port": 22},
    "family and sensor": {"family": "probe", "sensor": "edge"},
    "a pair that never is": {"family": "worm", "verdict": "novel"},
    "family, score from 0.99": {"family": "probe", "score": Range(at_least=0.99)},
    "rare family, score from 0.5": {"family": "worm", "score": Range(at_least=0.5)},
    "text: an address": {"text": Words("10.0.0.7")},
    "text: a common word": {"text": Words("dos")},
    "text: two words": {"text": Words("probe http")},
    "text: how one begins": {"text": Words("10.0.0.1*")},
    "text and family": {"text": Words("edge"), "family": "worm"},
}
TIMELINES: dict[str, Where] = {
    "all": {},
    "new": {"state": "new", **SHOWN},
    "family": {"family": "probe"},
    "source": {"source": "10.0.0.7"},
    "busiest source": {"source": "10.0.0.1"},
    "score": {"score": Range(at_least=0.5)},
}


def main() -> None:
    """Fill, ask, tell."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--alerts", type=int, default=100_000)
    reader.add_argument("--folder", type=Path, help="keep the store here")
    reader.add_argument("--fill-s", type=float, default=1e9, help="end the filling after so many seconds")
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.folder or Path(folder)
        with closing(EmbeddedAlertStore(home / "alerts.sqlite")) as store:
            if fill(store, asked.alerts, asked.fill_s):
                ask(store, asked.alerts)
                change(store, asked.alerts)
                page_s = asyncio.run(_portal_page_s(home))
                record("alerts", "the page in the portal", 1000 * page_s, "ms", alerts=asked.alerts)


def fill(store: EmbeddedAlertStore, alerts: int, seconds: float) -> bool:
    """Add what is missing, for so many seconds at most; whether all is there now."""
    there = store.count()
    taken, started = 0.0, time.perf_counter()
    added = 0
    for piece in _pieces(there, alerts):
        before = time.perf_counter()
        added += store.add(piece)
        taken += time.perf_counter() - before
        if time.perf_counter() - started > seconds:
            break
    if added:
        record("alerts", "adds", added / taken, "alerts/s", alerts=there + added, at_once=AT_ONCE, there_before=there)
    return there + added >= alerts


def ask(store: EmbeddedAlertStore, alerts: int) -> None:
    """First pages, counts, timelines and groups."""
    for name, where in QUESTIONS.items():
        page_ms = 1000 * _time(lambda: store.find(where, limit=50), REPEATS)  # noqa: B023 - called at once
        count_ms = 1000 * _time(lambda: store.count(where, at_most=10_001), REPEATS)  # noqa: B023 - called at once
        record("alerts", f"page: {name}", page_ms, "ms", alerts=alerts, count_ms=round(count_ms, 2))
    for name, where in TIMELINES.items():
        shown_ms = 1000 * _time(lambda: store.timeline(where, bins=60), REPEATS)  # noqa: B023 - called at once
        record("alerts", f"timeline: {name}", shown_ms, "ms", alerts=alerts)
    for name, where in (TIMELINES | {"text": {"text": Words("probe")}}).items():
        groups_ms = 1000 * _time(lambda: store.groups(where), REPEATS)  # noqa: B023 - called at once
        record("alerts", f"groups: {name}", groups_ms, "ms", alerts=alerts)
    for field in ("source", "target_port"):
        top_ms = 1000 * _time(lambda: store.top(field, SHOWN), REPEATS)  # noqa: B023 - called at once
        record("alerts", f"top: {field}", top_ms, "ms", alerts=alerts)


def change(store: EmbeddedAlertStore, alerts: int) -> None:
    """A decision on many and its undoing; hiding as many and showing them again."""
    where = {"source": "10.0.0.7"}
    now = datetime.now(UTC)
    started = time.perf_counter()
    act = decide(store, where, "false_positive", who="bench", at=now, chosen="source")
    rate = act.changed / (time.perf_counter() - started)
    record("alerts", "triaged", rate, "alerts/s", alerts=alerts, changed=act.changed)
    undone = _time(lambda: take_back(store, act.act_id, who="bench", at=datetime.now(UTC)), 1)
    record("alerts", "undone", act.changed / undone, "alerts/s", alerts=alerts, changed=act.changed)
    started = time.perf_counter()
    hidden = hide(store, where, owner="bench", reason="measured", at=now)
    record("alerts", "hidden", hidden.hidden / (time.perf_counter() - started), "alerts/s", alerts=alerts)
    shown = _time(lambda: store.lift(hidden.suppression_id, "bench", now), 1)
    record("alerts", "shown again", hidden.hidden / shown, "alerts/s", alerts=alerts)


async def _portal_page_s(home: Path) -> float:
    """Median seconds of /alerts, rendered, without a network between."""
    app = create_app(Settings.model_validate({"workspace": ROOT, "home": home, "datasets": home}))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1))
    taken = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for _ in range(REPEATS):
            started = time.perf_counter()
            answer = await client.get("/alerts?state=new", headers={"Accept": "text/html"})
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


def _pieces(first: int, end: int) -> Iterator[list[Alert]]:
    for start in range(first, end, AT_ONCE):
        draw = random.Random(start)  # noqa: S311 - made-up alerts
        features = {f"feature_{number}": draw.random() for number in range(80)}
        yield [_alert(number, draw, features) for number in range(start, min(start + AT_ONCE, end))]


def _alert(number: int, draw: random.Random, features: dict[str, float]) -> Alert:
    family = "worm" if draw.random() < 0.0002 else draw.choice(("dos", "dos", "dos", "probe", None))
    return Alert(
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
        verdict="known_attack" if family else "novel",
        family=family,
        source="10.0.0.1" if draw.random() < 0.5 else f"10.0.0.{draw.randrange(2, 200)}",
        source_port=draw.randrange(1024, 65_536),
        target=f"10.1.0.{draw.randrange(30)}",
        target_port=draw.choice((22, 80, 443, 8080)),
        protocol=17 if draw.random() < 0.1 else 6,
        features={**features, "service": draw.choice(("http", "ssh", "dns")), "community_id": f"1:{number:x}="},
    )


if __name__ == "__main__":
    main()
