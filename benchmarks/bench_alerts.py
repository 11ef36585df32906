"""How fast the embedded store takes and finds alerts: `python benchmarks/bench_alerts.py --alerts 1000000`.

Prints, and appends to results/alerts.jsonl, the rate of adding and for each question the median time of the first page
and of the count that stops at 10,000; timelines, groups, a decision on many, and the portal's whole page. The first
20,000 alerts are added through the store, of 80 features each between 200 sources and 30 targets. The others are copies
of these at other hours, with 8 features, made by SQL with all that is kept beside them; then 2,000 more are added.
`--folder` keeps the store there, so that questions can be asked again.
"""

# ruff: noqa: S608 - columns and numbers in queries are our own

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
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
from netwarden.settings import Settings
from netwarden.sources.alert_records import SPAN_FIELDS, found_by
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.embedded_layout import COLUMNS, TICK_IDS
from netwarden.sources.filters import SHOWN, Networks, Range, Where, Words
from netwarden.triage.decisions import decide, take_back
from netwarden.triage.suppression import hide

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
REPEATS = 5
AT_ONCE = 1000
SEED = 20_000  # alerts that are added one by one
HOUR_US = 3_600_000_000
_FEW = json.dumps({f"feature_{number}": number / 7 for number in range(8)})
_SEED_WORDS = "CREATE TEMP TABLE seed (id INTEGER PRIMARY KEY, text)"
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
    "100 seconds": {"raised_at": Range(NOON + timedelta(hours=5, seconds=50), NOON + timedelta(hours=5, seconds=150))},
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
    reader.add_argument("--alerts", type=int, default=100_000, help="a multiple of 20,000")
    reader.add_argument("--folder", type=Path, help="keep the store here")
    asked = reader.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.folder or Path(folder)
        with closing(EmbeddedAlertStore(home / "alerts.sqlite")) as store:
            if not store.count():
                fill(store, 0, SEED)
                multiply(home / "alerts.sqlite", asked.alerts // SEED)
                fill(store, asked.alerts, asked.alerts + 2000)
            ask(store, asked.alerts)
            change(store, asked.alerts)
            page_s = asyncio.run(_portal_page_s(home))
            record("alerts", "the page in the portal", 1000 * page_s, "ms", alerts=asked.alerts)


def fill(store: EmbeddedAlertStore, first: int, end: int) -> None:
    """Add alerts through the store."""
    taken = cpu = 0.0
    for piece in _pieces(first, end):
        before, cpu_before = time.perf_counter(), time.process_time()
        store.add(piece)
        taken += time.perf_counter() - before
        cpu += time.process_time() - cpu_before
    rate, per_cpu = (end - first) / taken, round((end - first) / cpu)
    record("alerts", "adds", rate, "alerts/s", there_before=first, at_once=AT_ONCE, per_cpu_second=per_cpu)


def multiply(path: Path, times: int) -> None:
    """Copies of all alerts, an hour later each time."""
    columns = [name for name in COLUMNS if name not in ("raised_at", "alert_id")]
    shift_ids = HOUR_US * TICK_IDS
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.executescript(f"PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; {_SEED_WORDS}")
        records = file.execute(f"SELECT id, {', '.join(COLUMNS)}, features FROM alert JOIN details USING (id)")
        names = ["id", *COLUMNS, "features"]
        seed = [dict(zip(names, row, strict=True)) for row in records]
        words = [(one["id"], found_by(one, json.loads(one["features"]))["words"]) for one in seed]
        file.executemany("INSERT INTO seed VALUES (?, ?)", words)
        for copy in range(1, times):
            ids, later, hours = copy * shift_ids, copy * HOUR_US, copy * 3600
            file.executescript(
                f"BEGIN; INSERT INTO alert (id, raised_at, alert_id, {', '.join(columns)}) "
                f"SELECT alert.id + {ids}, raised_at + {later}, lower(hex(randomblob(16))), {', '.join(columns)} "
                f"FROM seed JOIN alert ON alert.id = seed.id; "
                f"INSERT INTO details SELECT id + {ids}, '{_FEW}' FROM seed; "
                f"INSERT INTO words (rowid, text) SELECT id + {ids}, text FROM seed; "
                f"INSERT INTO spans SELECT span_s, start + {hours}, {', '.join(SPAN_FIELDS)}, count FROM spans "
                f"WHERE start < {int(NOON.timestamp()) + 3600}; COMMIT;"
            )
        later, ids = (times - 1) * HOUR_US, (times - 1) * shift_ids
        file.execute(f"UPDATE cells SET count = count * {times}, last = last + {later}, newest = newest + {ids}")


def ask(store: EmbeddedAlertStore, alerts: int) -> None:
    """First pages, counts, timelines and groups."""
    for name, where in QUESTIONS.items():
        count_ms = 1000 * _time(lambda: store.count(where, at_most=10_001), REPEATS)[0]  # noqa: B023 - called at once
        _tell(f"page: {name}", lambda: store.find(where, limit=50), alerts, count_ms=round(count_ms, 2))  # noqa: B023 - called at once
    for name, where in TIMELINES.items():
        _tell(f"timeline: {name}", lambda: store.timeline(where, bins=60), alerts)  # noqa: B023 - called at once
    for name, where in (TIMELINES | {"text": {"text": Words("probe")}}).items():
        _tell(f"groups: {name}", lambda: store.groups(where), alerts)  # noqa: B023 - called at once
    for by_source in (False, True):
        _tell(f"loudest{': sources' * by_source}", lambda: store.loudest(SHOWN, by_source=by_source), alerts)  # noqa: B023 - called at once
    for field in ("source", "target_port"):
        _tell(f"top: {field}", lambda: store.top(field, SHOWN), alerts)  # noqa: B023 - called at once


def _tell(name: str, act: Callable[[], object], alerts: int, **facts: object) -> None:
    """Medians: of the time that passed, and of the processor's own, which other work beside it does not lengthen."""
    passed_s, worked_s = _time(act, REPEATS)
    record("alerts", name, 1000 * passed_s, "ms", alerts=alerts, processor_ms=round(1000 * worked_s, 2), **facts)


def change(store: EmbeddedAlertStore, alerts: int) -> None:
    """A decision on many and its undoing; hiding as many and showing them again."""
    where = {"source": "10.0.0.7"}
    now = datetime.now(UTC)
    started = time.perf_counter()
    act = decide(store, where, "false_positive", who="bench", at=now, chosen="source")
    rate = act.changed / (time.perf_counter() - started)
    record("alerts", "triaged", rate, "alerts/s", alerts=alerts, changed=act.changed)
    undone = _time(lambda: take_back(store, act.act_id, who="bench", at=datetime.now(UTC)), 1)[0]
    record("alerts", "undone", act.changed / undone, "alerts/s", alerts=alerts, changed=act.changed)
    started = time.perf_counter()
    hidden = hide(store, where, owner="bench", reason="measured", at=now)
    record("alerts", "hidden", hidden.hidden / (time.perf_counter() - started), "alerts/s", alerts=alerts)
    shown = _time(lambda: store.lift(hidden.suppression_id, "bench", now), 1)[0]
    record("alerts", "shown again", hidden.hidden / shown, "alerts/s", alerts=alerts)


async def _portal_page_s(home: Path) -> float:
    """Median seconds of /alerts, rendered, without a network between."""
    from netwarden.portal.app import create_app  # noqa: PLC0415 - filling needs no portal

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


def _time(act: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds that passed, and that the processor worked."""
    passed, worked = [], []
    for _ in range(repeats):
        started, began = time.perf_counter(), time.process_time()
        act()
        passed.append(time.perf_counter() - started)
        worked.append(time.process_time() - began)
    return statistics.median(passed), statistics.median(worked)


def _pieces(first: int, end: int) -> Iterator[list[Alert]]:
    for start in range(first, end, AT_ONCE):
        draw = random.Random(start)  # noqa: S311 - made-up alerts
        features = {f"feature_{number}": draw.random() for number in range(80)}
        yield [_alert(number, draw, features) for number in range(start, min(start + AT_ONCE, end))]


def _at(number: int) -> datetime:
    """100 alerts a second for 200 seconds of each hour."""
    hours, within = divmod(number, SEED)
    return NOON + timedelta(hours=hours, milliseconds=10 * within)


def _alert(number: int, draw: random.Random, features: dict[str, float]) -> Alert:
    family = "worm" if draw.random() < 0.0002 else draw.choice(("dos", "dos", "dos", "probe", None))
    return Alert(
        alert_id=f"{draw.getrandbits(128):032x}",
        flow_id=f"{draw.getrandbits(128):032x}",
        bundle_id="65ed956f64122dc2",
        schema_id="netwarden_flow",
        origin="live",
        sensor=draw.choice(("edge", "core")),
        raised_at=_at(number),
        started_at=_at(number),
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
