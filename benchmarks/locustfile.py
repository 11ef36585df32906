"""Who uses a portal at once: people who look at pages, programs that have flows scored, windows that follow live.

    FLOWS=flows.jsonl locust -f benchmarks/locustfile.py --host http://127.0.0.1:8000

FLOWS holds one flow a line, as JSON with its `family`; ATTACKS of those that are sent are attacks (0.05). `make
bench-http` writes such a file, starts a portal and prints the figures.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

from locust import FastHttpUser, HttpUser, between, constant_pacing, events, task

ATTACKS = float(os.environ.get("ATTACKS", "0.05"))
_BATCH = 50
_EVENTS = 8  # of a live feed, one a second, until the window is opened anew
_TOKEN = os.environ.get("NETWARDEN_TOKEN", "")
HEADERS = {"Authorization": f"Bearer {_TOKEN}"} if _TOKEN else {}

found: Counter[str] = Counter()


def _load(path: str) -> tuple[list[Any], list[Any]]:
    flows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    families = [flow.pop("family") for flow in flows]
    benign = [flow for flow, family in zip(flows, families, strict=True) if family == "benign"]
    return benign, [flow for flow, family in zip(flows, families, strict=True) if family != "benign"]


_BENIGN, _HOSTILE = _load(os.environ["FLOWS"])


def a_flow() -> tuple[bool, dict[str, Any]]:
    """A flow, and whether it is an injected attack."""
    hostile = random.random() < ATTACKS  # noqa: S311 - no secret
    return hostile, random.choice(_HOSTILE if hostile else _BENIGN)  # noqa: S311


class Analyst(FastHttpUser):
    """Reads alerts, their reasons and what is live; thinks some seconds in between."""

    weight = 10
    wait_time = between(5, 15)
    alert_id = ""

    @task(3)
    def alerts(self) -> None:
        self.client.get("/alerts", headers=HEADERS)

    @task(3)
    def alerts_as_json(self) -> None:
        page = self.client.get("/api/v1/alerts?limit=20", headers=HEADERS, name="/api/v1/alerts")
        alerts = page.json()["alerts"] if page.status_code == 200 else []
        if alerts:
            self.alert_id = random.choice(alerts)["alert_id"]  # noqa: S311

    @task(2)
    def one_alert(self) -> None:
        if self.alert_id:
            self.client.get(f"/alerts/{self.alert_id}", headers=HEADERS, name="/alerts/{id}")

    @task(2)
    def overview(self) -> None:
        self.client.get("/overview", headers=HEADERS)

    @task(2)
    def home(self) -> None:
        self.client.get("/", headers=HEADERS)

    @task(1)
    def live(self) -> None:
        self.client.get("/live", headers=HEADERS)

    @task(1)
    def models(self) -> None:
        self.client.get("/models", headers=HEADERS)


class Program(FastHttpUser):
    """Has flows scored, one at a time and in batches, and counts which attacks were seen."""

    weight = 5
    wait_time = constant_pacing(5)

    @task(4)
    def one(self) -> None:
        hostile, flow = a_flow()
        answer = self.client.post("/score", json=flow, headers=HEADERS)
        self._count([hostile], [answer.json()] if answer.status_code == 200 else [])

    @task(1)
    def many(self) -> None:
        hostile, flows = zip(*(a_flow() for _ in range(_BATCH)), strict=True)
        answer = self.client.post("/batch_score", json={"rows": flows}, headers=HEADERS)
        self._count(list(hostile), answer.json()["verdicts"] if answer.status_code == 200 else [])

    def _count(self, hostile: list[bool], verdicts: list[Any]) -> None:
        for injected, verdict in zip(hostile, verdicts, strict=False):
            found["attacks" if injected else "benign"] += 1
            found["attacks seen" if injected else "false alerts"] += verdict["prediction"] == -1


class Uploader(HttpUser):
    """Uploads small files for a page of verdicts."""

    fixed_count = 8
    wait_time = constant_pacing(8)  # eight of them stay below portal.uploads_per_minute, which counts by address

    @task
    def upload(self) -> None:
        rows = [a_flow()[1] for _ in range(_BATCH)]
        text = "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)])
        self.client.post("/predict", files={"file": ("flows.csv", text)}, headers=HEADERS)


class Window(HttpUser):
    """A live page that is left open."""

    fixed_count = 40
    wait_time = between(0, 1)

    @task
    def follow(self) -> None:
        with self.client.get(
            "/api/v1/live/events", headers=HEADERS, stream=True, timeout=60, catch_response=True
        ) as feed:
            seen = 0
            for line in feed.iter_lines():
                seen += line.startswith(b"data:")
                if seen == _EVENTS:
                    break
            if feed.status_code == 200 and seen < _EVENTS:
                feed.failure(f"the feed ended after {seen} events")


@events.quitting.add_listener
def _tell(**_: Any) -> None:
    if where := os.environ.get("FOUND"):
        Path(where).write_text(json.dumps(found), encoding="utf-8")
