"""All there is to say of one alert, for its page and its API."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NetwardenError
from netwarden.flows.alert import Alert, TriageState
from netwarden.flows.labels import load_families
from netwarden.flows.schema import Column
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.portal.alerts.techniques import technique
from netwarden.portal.reference import EvidenceReasons
from netwarden.portal.uploads.evidence import FeatureView, by_feature, weighed
from netwarden.scoring.model import Model
from netwarden.sources.alert_store import AlertStore, TriageAct
from netwarden.sources.filters import SHOWN, Range

COUNTED = 10_000  # a count on a page stops beyond it
_RELATED = 5
_NEAR = 4  # before an alert, and after it
_LOOKED_AT = 200  # of those after it, the newest first: under a flood the closest are beyond, and others are shown


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Meaning(_Answer):
    """What a family of attacks is."""

    family: str
    title: str
    meaning: str
    technique: str = Field(description="ATT&CK technique; empty where none fits")
    technique_name: str = Field(description="What it is called")
    technique_meaning: str = Field(description="What is done by it")
    technique_address: str = Field(description="Its page in the catalogue; empty where there is none")


class Decision(_Answer):
    """One act of triage. `state` is null where it undid another."""

    act_id: str
    at: datetime
    who: str
    state: TriageState | None
    note: str
    chosen: str = Field(description="Which alerts were meant")
    undoes: str | None
    changed: int = Field(description="Alerts that got another state")


class Change(_Answer):
    """What an act did to the alert."""

    decision: Decision
    before: TriageState
    after: TriageState


class Related(_Answer):
    """Other alerts of an endpoint, the newest first; `count` stops at 10,000, and `more` says that it did."""

    field: str
    value: str
    count: int
    more: bool
    alerts: list[Alert]


class AlertDetails(_Answer):
    """An alert, with what helps to judge it."""

    alert: Alert
    meaning: Meaning | None = Field(description="Of the family that the verdict names")
    community_id: str | None = Field(description="The flow's id in Zeek and Suricata")
    evidence: list[EvidenceReasons] = Field(description="Why it was flagged, by the bundle that did; see `unexplained`")
    unexplained: str = Field(description="Why there is no evidence; empty: there is")
    changes: list[Change] = Field(description="Its triage, newest first")
    related: list[Related]
    nearby: list[Alert] = Field(description="Alerts raised closest before and after it, in order of time")


@dataclass(frozen=True)
class FeatureGroup:
    """Features of a kind, as a page lists them.

    `explained` by the bundle that raised the alert; `plain` (name, unit, meaning, value) are others, or all without it.
    """

    title: str
    explained: list[FeatureView] = field(default_factory=list)
    plain: list[tuple[str, str, str, Any]] = field(default_factory=list)


def details(request: Request, alert_id: str, top: int) -> AlertDetails:
    """All of an alert, with the `top` strongest reasons of each kind. Raises NotFoundError."""
    store: AlertStore = request.app.state.alerts
    alert = store.get(alert_id)
    evidence, fault = _evidence(request, alert, top)
    changes = [Change(decision=decision(c.act), before=c.before, after=c.after) for c in store.changes(alert_id)]
    return AlertDetails(
        alert=alert,
        meaning=_meaning(request, alert.family),
        community_id=alert.features.get("community_id"),
        evidence=evidence,
        unexplained=fault,
        changes=changes,
        related=[_related(store, alert, name) for name in ("source", "target") if getattr(alert, name)],
        nearby=_nearby(store, alert),
    )


def decision(act: TriageAct) -> Decision:
    """An act as answers tell it."""
    return Decision(**{name: getattr(act, name) for name in Decision.model_fields})


def feature_groups(request: Request, told: AlertDetails) -> list[FeatureGroup]:
    """Every feature of an alert, by what it measures."""
    alert = told.alert
    try:
        model: Model = request.app.state.champions.model(alert.bundle_id)
    except NetwardenError:
        return [FeatureGroup("As stored", plain=[(name, "", "", value) for name, value in alert.features.items()])]
    columns = {column.name: column for column in model.schema.features}
    groups: dict[str, FeatureGroup] = {}
    used = [name for name in model.bundle.preprocessor.names if name in alert.features] if told.evidence else []
    for view in by_feature(told.evidence, tuple(used)):
        title = _group(columns[view.facts.feature])
        groups.setdefault(title, FeatureGroup(title)).explained.append(view)
    for name, value in alert.features.items():
        if name not in used:
            column = columns.get(name)
            title = _group(column) if column and not used else "Beside the features"
            plain = (name, column.unit if column else "", column.meaning if column else "", value)
            groups.setdefault(title, FeatureGroup(title)).plain.append(plain)
    return sorted(groups.values(), key=lambda group: _TITLES.index(group.title))


def counted(store: AlertStore, where: Any) -> tuple[int, bool]:
    """Alerts that match, up to 10,000, and whether there are more."""
    found = store.count(where, at_most=COUNTED + 1)
    return min(found, COUNTED), found > COUNTED


def _evidence(request: Request, alert: Alert, top: int) -> tuple[list[EvidenceReasons], str]:
    """Reasons by the bundle that raised the alert, or why there are none."""
    try:
        model: Model = request.app.state.champions.model(alert.bundle_id)
        return weighed(model, _flow(model, alert), top), ""
    except NetwardenError as error:
        return [], str(error)


def _flow(model: Model, alert: Alert) -> FlowTable:
    """The alert's flow as the bundle reads it. Raises InputError where the alert lacks a feature."""
    used = frozenset(model.bundle.preprocessor.names)
    columns = [column for column in model.schema.features if column.name in used]
    missing = [column.name for column in columns if column.name not in alert.features]
    if missing:
        raise InputError(f"the alert keeps no {missing[0]}, so nothing explains it; did another program store it?")
    arrays = {column.name: pa.array([alert.features[column.name]], arrow_type(column)) for column in columns}
    return FlowTable(pa.table(arrays), alert.schema_id)


def _meaning(request: Request, family: str | None) -> Meaning | None:
    known = load_families(request.app.state.settings.schema_dir / "families.yaml").families
    if family is None or family not in known:
        return None
    found = known[family]
    by = technique(found.technique)
    return Meaning(
        family=family,
        title=found.title,
        meaning=found.meaning,
        technique=found.technique,
        technique_name=by.name if by else "",
        technique_meaning=by.meaning if by else "",
        technique_address=by.address if by else "",
    )


def _nearby(store: AlertStore, alert: Alert) -> list[Alert]:
    """Those within ten minutes, of which the closest."""
    at, reach = alert.raised_at, timedelta(minutes=10)
    before = store.find({**SHOWN, "raised_at": Range(at - reach, at)}, limit=_NEAR).alerts
    after = store.find({**SHOWN, "raised_at": Range(at, at + reach)}, limit=_LOOKED_AT).alerts
    later = [other for other in after if other.alert_id != alert.alert_id][-_NEAR:]
    return [_slim(other) for other in (*later, *before)]


def _related(store: AlertStore, alert: Alert, name: str) -> Related:
    where = {**SHOWN, name: getattr(alert, name)}
    count, more = counted(store, where)
    found = [other for other in store.find(where, limit=_RELATED + 1).alerts if other.alert_id != alert.alert_id]
    slim = [_slim(other) for other in found[:_RELATED]]
    return Related(field=name, value=where[name], count=count, more=more, alerts=slim)


def _slim(alert: Alert) -> Alert:
    return alert.model_copy(update={"features": {}})


_CONTEXT = {
    "source": "What its source did before",
    "target": "What its target saw before",
    "pair": "What the two did before",
}
_UNITS = {"us": "Times", "s": "Times", "bytes": "Sizes", "bytes²": "Sizes"}
_TITLES = [
    "Sizes",
    "Packets and flags",
    "Times",
    "Rates",
    "Counts, shares and categories",
    *_CONTEXT.values(),
    "As stored",
    "Beside the features",
]


def _group(column: Column) -> str:
    """What a feature measures, told by its name and unit."""
    first = column.name.partition("_")[0]
    if first in _CONTEXT:
        return _CONTEXT[first]
    if "/s" in column.unit:
        return "Rates"
    if column.unit in ("packets", "events", "fragments"):
        return "Packets and flags"
    return _UNITS.get(column.unit, "Counts, shares and categories")
