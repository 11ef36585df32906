"""`netwarden lab detect`: which activities of a recording a detector sees, and which benign ones it accuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from netwarden.errors import InputError
from netwarden.flows.labels import BENIGN
from netwarden.flows.schema import FAMILY, LABEL
from netwarden.lab.dataset import SCHEMA_ID
from netwarden.lab.record import ACTIVITY, FLOWS, TOOL
from netwarden.scoring.model import load
from netwarden.settings import Settings


@dataclass(frozen=True)
class Seen:
    """Flows of one activity, over all its hosts, and how many of them alert."""

    activity: str
    label: str
    tool: str
    flows: int
    alerts: int


@dataclass(frozen=True)
class Detected:
    """Every activity of a recording, attacks first, as one bundle judges them."""

    bundle_id: str
    threshold: float
    activities: tuple[Seen, ...]

    def __str__(self) -> str:
        attacks = [seen for seen in self.activities if seen.label != BENIGN]
        benign = [seen for seen in self.activities if seen.label == BENIGN]
        accused = [seen for seen in benign if seen.alerts]
        rows = [(f"{seen.label} {seen.activity} ({seen.tool})", [seen]) for seen in (*attacks, *accused)]
        quiet = [seen for seen in benign if not seen.alerts]
        rows += [(f"benign, {len(quiet)} others", quiet), ("all attacks", attacks), ("all benign", benign)]
        width = max(len(name) for name, _ in rows)
        lines = [f"bundle {self.bundle_id}, threshold {self.threshold:.3f}", f"{'':<{width}}   flows  alerts"]
        return "\n".join([*lines, *(_line(f"{name:<{width}}", chosen) for name, chosen in rows)])


def _line(name: str, chosen: Sequence[Seen]) -> str:
    flows, alerts = sum(seen.flows for seen in chosen), sum(seen.alerts for seen in chosen)
    return f"{name} {flows:>7,} {alerts:>7,} {alerts / max(flows, 1):>8.2%}"


def detect(recording: Path, settings: Settings, bundle: str) -> Detected:
    """Score a recording's flows with a bundle (id, folder, or champion), and count its alerts by activity.

    Raises InputError where the folder is no recording or holds no flows.
    """
    path = recording / FLOWS
    if not path.is_file():
        raise InputError(f"{recording} is no recording: it has no {FLOWS}, which `netwarden lab record` writes")
    flows = pq.read_table(path)
    if not flows.num_rows:
        raise InputError(f"{recording} holds no flows; its summary.json and logs/ say what its programs did")
    model = load(bundle, settings, SCHEMA_ID)
    scores = model.score(flows.drop_columns([LABEL, FAMILY, ACTIVITY, TOOL]))
    parts = [name.partition("@")[0] for name in flows.column(ACTIVITY).to_pylist()]
    keys = list(zip(parts, flows.column(LABEL).to_pylist(), flows.column(TOOL).to_pylist(), strict=True))
    threshold = model.bundle.manifest.threshold.value
    alerting = scores.column("score").to_numpy() >= threshold
    alerts = Counter(key for key, alert in zip(keys, alerting, strict=True) if alert)
    seen = [Seen(*key, count, alerts[key]) for key, count in Counter(keys).items()]
    ordered = sorted(seen, key=lambda one: (one.label == BENIGN, one.label, one.activity))
    return Detected(model.bundle.bundle_id, threshold, tuple(ordered))
