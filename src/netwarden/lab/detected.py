"""`netwarden lab detect`: which activities of a recording a detector sees, and which benign ones it accuses."""

from __future__ import annotations

from collections import Counter
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
        width = max(len(f"{seen.label} {seen.activity} ({seen.tool})") for seen in self.activities)
        lines = [f"bundle {self.bundle_id}, threshold {self.threshold:.3f}", f"{'':<{width}}   flows  alerts"]
        for seen in self.activities:
            name = f"{seen.label} {seen.activity} ({seen.tool})"
            lines.append(f"{name:<{width}} {seen.flows:>7,} {seen.alerts:>7,} {seen.alerts / seen.flows:>7.1%}")
        for what, chosen in (("attacks", self._chosen(True)), ("benign", self._chosen(False))):
            flows, alerts = sum(seen.flows for seen in chosen), sum(seen.alerts for seen in chosen)
            lines.append(f"{what:<{width}} {flows:>7,} {alerts:>7,} {alerts / max(flows, 1):>7.1%}")
        return "\n".join(lines)

    def _chosen(self, attacks: bool) -> list[Seen]:
        return [seen for seen in self.activities if (seen.label != BENIGN) == attacks]


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
