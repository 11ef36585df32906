"""Batches to alerts: scored together where they are of one kind, apart down to the row where one is bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from netwarden.errors import InputError, SchemaError
from netwarden.flows.alert import Alert
from netwarden.flows.schema import LABEL
from netwarden.flows.table import FlowTable, alert_id
from netwarden.scoring.alerts import alerts_of
from netwarden.scoring.model import Model
from netwarden.sources.store import Message
from netwarden.streaming.batch import ENDED_BY, FLOW_ID, HAD_INTERIM, INTERIM, StreamBatch, column_of, joined

ChooseModel = Callable[[str], Model]  # schema id → the model in charge; raises BundleError while there is none


@dataclass(frozen=True)
class Delivery:
    """A message and the batch in it."""

    message: Message
    batch: StreamBatch


@dataclass(frozen=True)
class Judged:
    """What one bundle says of a batch: scores, alerts, and flows whose early alerts are to be withdrawn."""

    batch: StreamBatch
    bundle_id: str
    result: Any
    alerts: list[Alert]
    withdrawn: list[str]


@dataclass(frozen=True)
class Bad:
    """What cannot be judged of a message: all of it, or some of its rows, each of them alone."""

    message: Message
    reason: str
    rows: list[StreamBatch] | None = None


@dataclass(frozen=True)
class Round:
    """What became of some deliveries."""

    judged: list[Judged] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)


def judge_all(deliveries: Sequence[Delivery], choose: ChooseModel, at: datetime) -> Round:
    """Judge batches, those of one kind in one go; nothing is judged twice or left out.

    Raises BundleError while no detector serves, StoreError where the registry is away.
    """
    outcome = Round()
    for group in _alike(deliveries):
        try:
            model = choose(group[0].batch.flows.schema_id)
        except InputError as error:  # others serve, but none for this schema
            outcome.bad.extend(Bad(one.message, str(error)) for one in group)
            continue
        together = _tried([one.batch for one in group], model, at)
        if isinstance(together, Judged):
            outcome.judged.append(together)
            continue
        for one in group:
            _judge_alone(one, model, at, outcome)
    return outcome


def _alike(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    groups: dict[Any, list[Delivery]] = {}
    for delivery in deliveries:
        groups.setdefault(delivery.batch.kind, []).append(delivery)
    yield from groups.values()


def _tried(batches: Sequence[StreamBatch], model: Model, at: datetime) -> Judged | Exception:
    """Batches of one kind judged as one, or what is wrong with one of them."""
    try:
        return _judge(joined(batches), model, at)
    except Exception as error:  # noqa: BLE001 - flows come from anywhere: whatever is wrong with one, others are judged
        return error


def _judge(batch: StreamBatch, model: Model, at: datetime) -> Judged:
    arrow = batch.flows.arrow
    if arrow.column(FLOW_ID).null_count:
        raise InputError("a flow has no flow_id, so its alert could not be told from others")
    result = model.scorer.score(_without_truth(batch.flows), path="stream")
    ended_by = column_of(arrow, ENDED_BY)
    interim = None if ended_by is None else pc.fill_null(pc.equal(ended_by, INTERIM), False).to_pylist()
    alerts = alerts_of(
        batch.flows,
        result,
        model.bundle.bundle_id,
        origin=batch.source,
        raised_at=at,
        sensor=batch.sensor,
        interim=interim,
    )
    return Judged(batch, model.bundle.bundle_id, result, alerts, _withdrawn(arrow, result))


def _without_truth(flows: FlowTable) -> FlowTable:
    """Flows as a network shows them: a label that came along stands beside the verdict and never leads to it."""
    return replace(flows, arrow=flows.arrow.drop_columns([LABEL])) if LABEL in flows.names else flows


def _withdrawn(arrow: Any, result: Any) -> list[str]:
    """Alert ids of flows that are below the threshold now that they have ended, and had earlier records."""
    had = column_of(arrow, HAD_INTERIM)
    if had is None:
        return []
    quiet = pc.and_(had, pc.less(result.column("score"), result.column("threshold")))
    return [alert_id(flow_id) for flow_id in arrow.column(FLOW_ID).filter(quiet).to_pylist()]


def _judge_alone(delivery: Delivery, model: Model, at: datetime, outcome: Round) -> None:
    bad: list[tuple[StreamBatch, Exception]] = []
    try:
        outcome.judged.extend(_good_parts(delivery.batch, model, at, bad))
    except SchemaError as error:  # the columns are wrong, so every row is
        outcome.bad.append(Bad(delivery.message, _said(error)))
        return
    if bad:
        reasons = sorted({_said(error) for _, error in bad})
        outcome.bad.append(Bad(delivery.message, "; ".join(reasons[:3]), [row for row, _ in bad]))


def _good_parts(
    batch: StreamBatch, model: Model, at: datetime, bad: list[tuple[StreamBatch, Exception]]
) -> list[Judged]:
    """Judged parts of a batch, halved until a row that fails is alone; such rows go to `bad`."""
    tried = _tried([batch], model, at)
    if isinstance(tried, Judged):
        return [tried]
    if isinstance(tried, SchemaError):
        raise tried
    if len(batch) <= 1:
        bad.append((batch, tried))
        return []
    half = len(batch) // 2
    parts = batch.part(0, half), batch.part(half, len(batch) - half)
    return [judged for part in parts for judged in _good_parts(part, model, at, bad)]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")
