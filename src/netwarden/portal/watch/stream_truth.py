"""Labels that came with streamed flows, as a replay's do, beside what the detector said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import SchemaError
from netwarden.flows.labels import load_families
from netwarden.flows.schema import LABEL, load_schema
from netwarden.portal.uploads.truth import TruthReport, family_of, report_of
from netwarden.settings import Settings
from netwarden.streaming.batch import ENDED_BY, INTERIM
from netwarden.streaming.scored import ScoredBatch

_MOST_TALLIES = 8  # the latest of them are kept
_MOST_KINDS = 2000  # pairs of label and answer in a tally


@dataclass
class Tally:
    """Flows of one sensor, scored by one bundle. `counts`: (label, or empty where none came, answer) → flows."""

    sensor: str
    origin: str
    schema_id: str
    bundle_id: str
    since: datetime
    until: datetime
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: int = 0

    @property
    def labelled(self) -> int:
        return sum(flows for (label, _), flows in self.counts.items() if label)

    def add(self, counts: Mapping[tuple[str, str], int], at: datetime) -> None:
        """Count more flows; those of a pair that finds no room are left out, and counted as that."""
        self.until = at
        for kind, flows in counts.items():
            if kind in self.counts or len(self.counts) < _MOST_KINDS:
                self.counts[kind] += flows
            else:
                self.left_out += flows


class Tallies:
    """Labelled flows of each sensor, schema and bundle, in bounded memory. Its owner keeps threads apart."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, str, str], Tally] = {}

    def add(self, batch: ScoredBatch) -> None:
        """Count a batch, if labels may come with it. Flows that are still open wait for their last record."""
        if LABEL not in batch.flows.column_names:
            return
        key = batch.sensor, batch.source, batch.schema_id, batch.bundle_id
        tally = self._tallies.pop(key, None) or Tally(*key, since=batch.scored_at, until=batch.scored_at)
        tally.add(_counts(batch.flows), batch.scored_at)
        self._tallies[key] = tally  # behind those that were counted before
        if len(self._tallies) > _MOST_TALLIES:
            del self._tallies[next(iter(self._tallies))]

    def copy(self) -> tuple[Tally, ...]:
        """Those in which a label stands, the latest first."""
        found = reversed(self._tallies.values())
        return tuple(replace(tally, counts=tally.counts.copy()) for tally in found if tally.labelled)


class StreamTruth(BaseModel):
    """Truth beside the verdicts of one sensor's flows by one bundle, as far as this portal followed them."""

    model_config = ConfigDict(extra="forbid")
    sensor: str
    origin: str = Field(description="replay; live or capture, where a sensor of another make sends labels")
    schema_id: str
    bundle_id: str
    since: datetime = Field(description="When the first of the flows was scored")
    until: datetime
    left_out: int = Field(description="Flows not counted, for there were too many different labels")
    truth: TruthReport


class StreamTruths(BaseModel):
    """What came of labels in the stream."""

    model_config = ConfigDict(extra="forbid")
    truths: list[StreamTruth] = Field(description="The latest first; at most eight")


def stream_truths(tallies: Iterable[Tally], settings: Settings) -> list[StreamTruth]:
    """Each tally with its confusion, and the recall of each attack."""
    return [_truth(tally, settings) for tally in tallies]


def _truth(tally: Tally, settings: Settings) -> StreamTruth:
    families, own = load_families(settings.schema_dir / "families.yaml"), _own_families(tally.schema_id, settings)
    counts = {(label, family_of(label, families, own), said): flows for (label, said), flows in tally.counts.items()}
    about: dict[str, Any] = {name: value for name, value in vars(tally).items() if name != "counts"}
    return StreamTruth(**about, truth=report_of(counts))


def _own_families(schema_id: str, settings: Settings) -> Mapping[str, str]:
    try:
        return load_schema(schema_id, settings.schema_dir).label.families
    except SchemaError:  # workers may know schemas that this machine has not
        return {}


def _counts(flows: Any) -> dict[tuple[str, str], int]:
    """Flows by label and by what was said of them: their family, else the verdict."""
    told = pa.table({"label": flows[LABEL].cast(pa.string()), "said": pc.coalesce(flows["family"], flows["verdict"])})
    if ENDED_BY in flows.column_names:
        told = told.filter(pc.fill_null(pc.not_equal(flows[ENDED_BY], INTERIM), True))
    lines = told.group_by(["label", "said"]).aggregate([([], "count_all")]).to_pylist()
    return {(line["label"] or "", line["said"]): line["count_all"] for line in lines}
