"""Single flows judged together: many requests' flows in one call of `Scorer.score`, each answered by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import NetwardenError
from netwarden.flows.alert import Alert, Verdict
from netwarden.flows.table import FlowTable, content_hash
from netwarden.scoring.alerts import FLOW_ID, alerts_of
from netwarden.scoring.model import Model
from netwarden.scoring.plain_flows import Flow, FlowReader
from netwarden.scoring.python_meter import in_seconds


@dataclass(frozen=True)
class Judged:
    """What a detector says of one flow, and the alert where its score reached the threshold."""

    schema_id: str
    bundle_id: str
    score: float
    verdict: Verdict
    family: str | None
    threshold: float
    alert: Alert | None = None


def judge(
    model: Model, reader: FlowReader, flows: Sequence[Flow], *, at: datetime, unknown: Counter[str] | None = None
) -> list[Judged | NetwardenError]:
    """The verdict on each flow, or why it is none of the model's schema; in their order. `reader` is of that schema."""
    answers: list[Judged | NetwardenError | None] = [None] * len(flows)
    read = reader.read([in_seconds(flow, model.schema) for flow in flows])
    for place, fault in read.faults.items():
        answers[place] = fault
    if read.places:
        result = model.scorer.score(read.table, path="api", unknown=unknown)
        raised = raised_by(model, read.table, result, at=at)
        for row, (place, said) in enumerate(zip(read.places, result.to_pylist(), strict=True)):
            judged = Judged(model.schema.id, model.bundle.bundle_id, **said)
            answers[place] = replace(judged, alert=raised[row]) if row in raised else judged
    return [answer for answer in answers if answer is not None]


def raised_by(model: Model, table: FlowTable, result: Any, *, at: datetime) -> dict[int, Alert]:
    """The alerts among scored flows of the API, by row. A flow that brings no id of its own goes by its content."""
    places = pc.indices_nonzero(pc.greater_equal(result.column("score"), result.column("threshold")))
    if not len(places):
        return {}
    flows = table.arrow.take(places)
    ids = [_flow_id(row, table.schema_id) for row in flows.to_pylist()]
    if FLOW_ID in flows.column_names:
        flows = flows.drop_columns([FLOW_ID])
    known = FlowTable(flows.append_column(FLOW_ID, pa.array(ids, pa.string())), table.schema_id)
    alerts = alerts_of(known, result.take(places), model.bundle.bundle_id, origin="api", raised_at=at)
    return dict(zip(places.to_pylist(), alerts, strict=True))


def _flow_id(row: dict[str, Any], schema_id: str) -> str:
    own = row.get(FLOW_ID)
    if own:
        return str(own)
    told = sorted((name, value) for name, value in row.items() if value is not None)
    return content_hash(b"api", schema_id.encode(), repr(told).encode()).hex()
