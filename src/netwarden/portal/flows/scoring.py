"""What scores the flows that programs send: one at a time gathered, many as a table; alerts are stored on the way."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from netwarden import logs
from netwarden.errors import NetwardenError, SchemaError
from netwarden.flows.alert import Alert
from netwarden.flows.conform import sources_of
from netwarden.flows.table import FlowTable
from netwarden.portal.flows.gathering import Gatherer
from netwarden.portal.models.champions import Champions
from netwarden.scoring.model import Model
from netwarden.scoring.plain_flows import Flow, FlowReader
from netwarden.scoring.singles import Judged, judge, raised_by
from netwarden.sources.store import AlertStore

_READERS = 16  # of bundles
_log = logs.get(__name__)


@dataclass(frozen=True)
class Sent:
    """One flow of a request; without a schema, the one that its columns fit counts."""

    schema_id: str
    flow: Flow


class FlowScoring:
    """Scores flows of the API with the champions, and keeps those that alert. `close` ends its threads."""

    def __init__(self, champions: Champions, alerts: AlertStore, record: bool) -> None:
        self._champions = champions
        self._alerts = alerts
        self._record = record
        self._readers: dict[str, FlowReader] = {}
        self._scoring: Gatherer[Sent, Judged] = Gatherer(self._judge, "scoring")
        self._keeping: Gatherer[Alert, None] = Gatherer(self._keep, "alerts")

    async def one(self, sent: Sent, record: bool) -> tuple[Judged, bool]:
        """What the detector says of a flow, and whether its alert is stored. Raises as `Model.score` does."""
        judged = await self._scoring.ask(sent)
        if judged.alert is None or not (record and self._record):
            return judged, False
        try:
            await self._keeping.ask(judged.alert)
        except NetwardenError as error:  # a verdict without its record is still a verdict
            _log.error("alert of the API not stored", extra={"alert": judged.alert.alert_id, "cause": str(error)})
            return judged, False
        return judged, True

    def many(
        self, model: Model, flows: Sequence[Flow], record: bool, unknown: Counter[str] | None = None
    ) -> list[Judged | NetwardenError]:
        """The same for many flows of one request; their alerts are stored before the answer. Raises StoreError."""
        answers = judge(model, self._reader(model), flows, at=datetime.now(UTC), unknown=unknown)
        if record and self._record:
            self._alerts.add([each.alert for each in answers if isinstance(each, Judged) and each.alert])
        return answers

    def keep_raised(self, model: Model, table: FlowTable, result: Any, record: bool = True) -> None:
        """Store the alerts of a scored table. Raises StoreError."""
        if record and self._record:
            self._alerts.add(list(raised_by(model, table, result, at=datetime.now(UTC)).values()))

    def model_for(self, schema_id: str, names: Collection[str]) -> Model:
        """The champion of a schema; without one, the only champion that flows with these columns fit."""
        models = self._champions.serving().models
        if schema_id or len(models) < 2:
            return self._champions.choose(schema_id)
        fitting = [model for model in models.values() if _fits(names, model)]
        return fitting[0] if len(fitting) == 1 else self._champions.choose()

    def close(self) -> None:
        self._scoring.close()
        self._keeping.close()

    def _judge(self, sent: Sequence[Sent]) -> list[Judged | NetwardenError]:
        answers: dict[int, Judged | NetwardenError] = {}
        chosen: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for place, each in enumerate(sent):
            chosen.setdefault((each.schema_id, tuple(each.flow)), []).append(place)
        for (schema_id, names), places in chosen.items():
            try:
                model = self.model_for(schema_id, names)
                found = judge(model, self._reader(model), [sent[at].flow for at in places], at=datetime.now(UTC))
            except NetwardenError as error:
                found = [error] * len(places)
            answers |= dict(zip(places, found, strict=True))
        return [answers[place] for place in range(len(sent))]

    def _keep(self, alerts: Sequence[Alert]) -> Sequence[None]:
        self._alerts.add(alerts)
        return [None] * len(alerts)

    def _reader(self, model: Model) -> FlowReader:
        reader = self._readers.get(model.bundle.bundle_id)
        if reader is None:
            if len(self._readers) >= _READERS:
                self._readers.clear()
            reader = self._readers[model.bundle.bundle_id] = FlowReader(model.schema)
        return reader


def _fits(names: Collection[str], model: Model) -> bool:
    with contextlib.suppress(SchemaError):
        return bool(sources_of(list(names), model.schema))
    return False
