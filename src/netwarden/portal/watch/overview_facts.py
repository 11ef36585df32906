"""All there is to see at a glance: what is watched, what alerts, what is in charge, and whether all is well."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from netwarden import jobs
from netwarden.errors import NetwardenError
from netwarden.evaluation.drift import Drift, measure_score_drift
from netwarden.portal.alerts.details import counted
from netwarden.portal.runs.runs import KIND
from netwarden.portal.watch.live_facts import LiveSensor, sensors
from netwarden.portal.watch.roles import RoleNow
from netwarden.portal.watch.scored_flows import Lately, ScoredFlows
from netwarden.portal.watch.wellbeing import Component, Tracking, components
from netwarden.scoring.model import Model
from netwarden.settings import Settings
from netwarden.sources.alert_store import NOVEL
from netwarden.sources.connect import open_registry
from netwarden.sources.filters import SHOWN, Range, Where
from netwarden.sources.store import AlertStore

DAY, WEEK = 24, 168
_BINS = {DAY: 96, WEEK: 84}  # a quarter of an hour, two hours
_TOP, _TOP_S = 6, 10.0
_LOUDEST = 100  # sources by family, among which those of the top are
_DAY_S = 86_400
_SURE_S = 60.0  # a rate is known once flows were seen for so long


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Bin(_Answer):
    """Alerts of a stretch of time, by family; `novel`: without one."""

    start: datetime
    span_s: int
    counts: dict[str, int]


class Ranked(_Answer):
    """An address and how many alerts it has part in."""

    name: str
    count: int
    family: str | None = Field(
        None, description="Of most of a source's alerts (`novel`: they have none); null of targets"
    )


class AlertRate(_Answer):
    """What a detector's budget promises beside what its stream shows; null: it is not followed long enough to tell."""

    budget: float = Field(description="Share of benign flows that may alert")
    share: float | None = Field(description="Of the flows of the stream, those that alerted")
    flows_per_day: float | None = Field(description="At the rate seen lately")
    expected_per_day: float | None = Field(description="False alerts that the budget allows at that rate")


class InCharge(_Answer):
    """A detector in charge."""

    schema_id: str
    title: str
    bundle_id: str
    kind: str
    threshold: float
    since: datetime | None
    who: str
    rate: AlertRate
    drift: str = Field(description="Of the scores: stable, some drift, drifted, too few flows to tell; empty: no flows")
    drift_psi: float | None


class LastTraining(_Answer):
    """The latest training run."""

    id: str
    state: jobs.JobState
    started_at: datetime
    error: str


class Overview(_Answer):
    """Everything at a glance."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "at": "2026-11-21T10:15:00Z",
                "state": "alerts",
                "headline": "3 alerts need you",
                "waiting": 3,
                "more": False,
                "last_day": 41,
                "expected_per_day": 49.4,
                "hours": 24,
                "timeline": [{"start": "2026-11-21T10:00:00Z", "span_s": 900, "counts": {"dos": 2, "novel": 1}}],
                "sources": [{"name": "10.0.0.7", "count": 3, "family": "dos"}],
                "targets": [{"name": "192.168.1.10", "count": 3, "family": None}],
                "flows_per_s": 57.2,
                "watched": [],
                "detectors": [],
                "training": None,
                "health": [{"name": "Store", "state": "ok", "detail": "SQLite under NETWARDEN_HOME", "advice": ""}],
                "roles": [],
            }
        }
    )
    at: datetime
    state: Literal["well", "alerts", "fault"]
    headline: str
    waiting: int = Field(description="Alerts that nobody has judged and nothing suppresses, counted up to 10,000")
    more: bool = Field(description="There are more than were counted")
    last_day: int = Field(description="Alerts raised in the last 24 hours, suppressed ones left out")
    expected_per_day: float | None = Field(
        description="False alerts that the budgets allow at the rate of flows seen lately; null: no stream to tell by"
    )
    hours: int
    timeline: list[Bin] = Field(description="Alerts of these hours, suppressed ones left out")
    sources: list[Ranked]
    targets: list[Ranked]
    flows_per_s: float
    watched: list[LiveSensor]
    detectors: list[InCharge]
    training: LastTraining | None
    health: list[Component]
    roles: list[RoleNow] = Field(description="Sensors and workers on any machine, but those that have ended")


def overview(request: Request, hours: int) -> Overview:
    """The present state, with the alerts of the last hours."""
    state = request.app.state
    settings: Settings = state.settings
    scored: ScoredFlows = state.scored
    tracking: Tracking = state.tracking
    lately, now = scored.lately(), datetime.now(UTC)
    roles: list[RoleNow] = state.roles.now()
    health = components(settings, state.alerts, state.champions, lately, roles, tracking)
    alerts = _Alerts(state.alerts, now, hours, usable=health[0].state == "ok")
    detectors = [_in_charge(settings, model, lately) for model in state.champions.serving().models.values()]
    expected = [each.rate.expected_per_day for each in detectors if each.rate.expected_per_day is not None]
    return Overview(
        at=now,
        state=_state(health, alerts.waiting),
        headline=_headline(health, alerts.waiting, alerts.more),
        waiting=alerts.waiting,
        more=alerts.more,
        last_day=alerts.last_day,
        expected_per_day=sum(expected) if expected else None,
        hours=hours,
        timeline=alerts.timeline,
        sources=alerts.top("source"),
        targets=alerts.top("target"),
        flows_per_s=_flows_per_s(lately, now),
        watched=sensors(lately, now)[:8],
        detectors=detectors,
        training=_last_training(settings),
        health=health,
        roles=roles,
    )


class _Alerts:
    """What an overview asks an alert store; nothing, where that is away."""

    def __init__(self, store: AlertStore, now: datetime, hours: int, *, usable: bool) -> None:
        self._store, self._hours, self._usable = store, hours, usable
        self.waiting, self.more, self.last_day, self.timeline = 0, False, 0, list[Bin]()
        if usable:
            self.waiting, self.more = counted(store, {**SHOWN, "state": "new"})
            found = store.timeline(SHOWN, now - timedelta(hours=hours), now, _BINS[hours])
            self.timeline = [Bin(start=each.start, span_s=each.span_s, counts=each.counts) for each in found]
            day = found if hours == DAY else store.timeline(SHOWN, now - timedelta(hours=DAY), now, 1)
            self.last_day = sum(sum(each.counts.values()) for each in day)

    def top(self, field: str) -> list[Ranked]:
        slot = int(time.monotonic() / _TOP_S)
        found = _top(self._store, field, self._hours, slot) if self._usable else ()  # type: ignore[arg-type] # hashed by identity
        return list(found)


@lru_cache(maxsize=8)
def _top(store: AlertStore, field: str, hours: int, _slot: int) -> tuple[Ranked, ...]:
    """The busiest addresses of these hours. They take longest of all, and ten seconds change little."""
    where: Where = {**SHOWN, "raised_at": Range(at_least=datetime.now(UTC) - timedelta(hours=hours))}
    families: dict[str | None, str] = {}
    if field == "source":
        for group in store.loudest(where, _LOUDEST, by_source=True).groups:
            families.setdefault(group.source, group.family or NOVEL)
    found = store.top(field, where, _TOP)
    return tuple(Ranked(name=name, count=count, family=families.get(name)) for name, count in found)


def _state(health: list[Component], waiting: int) -> Literal["well", "alerts", "fault"]:
    if any(part.state == "fault" for part in health):
        return "fault"
    return "alerts" if waiting else "well"


def _headline(health: list[Component], waiting: int, more: bool) -> str:
    faults = [part.name.lower() for part in health if part.state == "fault"]
    needing = f"{waiting:,}{'+' if more else ''} {'alert needs' if waiting == 1 else 'alerts need'} you"
    needing = needing.replace(",", "\u2009")
    if faults:
        fault = f"Look at the {' and the '.join(faults)}"
        return f"{fault}; {needing}" if waiting else fault
    return needing if waiting else "All is well"


def _flows_per_s(lately: Lately, now: datetime) -> float:
    end = int(now.timestamp())
    return sum(lately.seconds[at].flows for at in range(end - 10, end) if at in lately.seconds) / 10


def _in_charge(settings: Settings, model: Model, lately: Lately) -> InCharge:
    manifest = model.bundle.manifest
    drift = _score_drift(model, lately)
    since, who = _promoted(settings, model)
    return InCharge(
        schema_id=model.schema.id,
        title=model.schema.title or model.schema.id,
        bundle_id=model.bundle.bundle_id,
        kind=manifest.kind.replace("_", " "),
        threshold=manifest.threshold.value,
        since=since,
        who=who,
        rate=_rate(manifest.threshold.budget, model.schema.id, lately),
        drift=drift.verdict if drift else "",
        drift_psi=drift.psi if drift else None,
    )


def _rate(budget: float, schema_id: str, lately: Lately) -> AlertRate:
    watched = [each for each in lately.watched if each.schema_id == schema_id]
    flows, alerts = sum(each.flows for each in watched), sum(each.alerts for each in watched)
    per_day = None
    if flows and lately.first_at and lately.last_at:
        seen_s = (lately.last_at - lately.first_at).total_seconds()
        per_day = flows / seen_s * _DAY_S if seen_s >= _SURE_S else None
    return AlertRate(
        budget=budget,
        share=alerts / flows if flows else None,
        flows_per_day=per_day,
        expected_per_day=per_day * budget if per_day is not None else None,
    )


def _score_drift(model: Model, lately: Lately) -> Drift | None:
    counts = lately.scores.get(model.bundle.bundle_id)
    if counts is None:
        return None
    benign = bool(model.bundle.reference.benign_score_counts.sum())
    return measure_score_drift(model.bundle, counts, "benign" if benign else "all")


def _promoted(settings: Settings, model: Model) -> tuple[datetime | None, str]:
    """Since when a bundle is in charge, and who put it there."""
    try:
        with closing(open_registry(settings)) as registry:
            events = registry.history(model.schema.id)
    except NetwardenError:
        return None, ""
    acts = (event for event in events if event.bundle_id == model.bundle.bundle_id and event.action != "register")
    found: Any = next(acts, None)
    return (found.at, found.who) if found else (None, "")


def _last_training(settings: Settings) -> LastTraining | None:
    runs = jobs.recent(settings.home, KIND)
    if not runs:
        return None
    outcome = runs[0].outcome()
    started_at = datetime.fromisoformat(runs[0].started_at)
    return LastTraining(id=runs[0].id, state=outcome.state, started_at=started_at, error=outcome.error)
