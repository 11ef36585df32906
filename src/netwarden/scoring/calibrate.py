"""A registered bundle fitted to the owner's own network: a new bundle with the same trees."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.detectors.threshold import Threshold
from netwarden.errors import ConfigError
from netwarden.flows.table import FlowTable
from netwarden.scoring.adaptation import MOST_ASIDE, Adapted, adapt
from netwarden.scoring.derived import register_derived
from netwarden.scoring.explain import explain
from netwarden.scoring.model import CHAMPION, Model, load
from netwarden.scoring.sample import Sample, read_sample
from netwarden.settings import Settings
from netwarden.sources.store import BundleEntry

_SHOWN, _EXPLAINED = 20, 2_000  # explaining is slow
_ENDPOINTS = ["src_ip", "src_port", "dst_ip", "dst_port", "started_at"]


CALIBRATED = "calibrated on"  # begins what the manifest of such a bundle says of its change


@dataclass(frozen=True)
class SetAside:
    """A flow taken for an attack: its row in the input (from 0), its scores before and after, and what moves it.

    `flow`: its endpoints, where the input says them.
    """

    row: int
    score_before: float
    score: float
    reason: str
    flow: str = ""


@dataclass(frozen=True)
class Calibrated:
    """What a calibration did. `before`, `after`: share of the sample's flows that alert, those set aside included."""

    origin_id: str
    entry: BundleEntry
    sample: str
    earlier: Threshold
    threshold: Threshold
    refitted: bool  # whether the detector keeps a sense of the usual, which was fitted anew
    set_aside: tuple[SetAside, ...]
    before: float
    after: float

    def describe(self, flows_per_day: float) -> str:
        """What changed, for people."""
        low, high = self.threshold.interval
        fitted = "threshold, reference and sense of the usual" if self.refitted else "threshold and reference"
        lines = [
            f"bundle {self.entry.bundle_id}: {fitted} of {self.sample}, trees of {self.origin_id}",
            f"alerts a day of {flows_per_day:,.0f} flows: {self.before * flows_per_day:,.0f} before "
            f"({self.before:.3%}), {self.after * flows_per_day:,.0f} after ({self.after:.3%})",
            f"threshold {self.earlier.value:.6f} before, {self.threshold.value:.6f} after: budget "
            f"{self.threshold.budget:.4%}, realised {self.threshold.realised:.4%} of {self.threshold.rows:,} flows "
            f"(95 %: {low:.4%} to {high:.4%})",
            f"{len(self.set_aside):,} flows set aside as likely attacks" + (", the oddest:" if self.set_aside else ""),
        ]
        lines += [
            f"  {each.flow or f'row {each.row}'}: score {each.score_before:.4f} before, {each.score:.4f} after; "
            f"{each.reason}"
            for each in self.set_aside[:_SHOWN]
        ]
        if self.set_aside:
            lines.append(
                "Left as it is, their like goes on alerting. Are they no attacks? Calibrate again with --most-aside 0."
            )
        return "\n".join(lines)


def calibrate_bundle(
    settings: Settings,
    source: Path,
    who: str,
    *,
    bundle: str = CHAMPION,
    budget: float | None = None,
    most_aside: float = MOST_ASIDE,
) -> Calibrated:
    """Bundle adapted to the flows of a file and registered; it takes the champion's place if the given one was that.

    Its scores keep their order on known attacks; that 0.8 means 8 of 10 held for the network of training only.
    Raises InputError where the flows are too few for the budget, by default that of the bundle.
    """
    if not 0 <= most_aside <= 0.04:
        raise ConfigError(f"{most_aside:g} of the flows cannot be set aside: the share must be between 0 and 0.04")
    if budget is not None and not 0 < budget < 1:
        raise ConfigError(f"a budget of {budget:g} is none: it must be a share above 0 and below 1")
    model = load(bundle, settings)
    return calibrate_model(settings, model, read_sample(model, source), who, budget=budget, most_aside=most_aside)


def calibrate_model(
    settings: Settings,
    model: Model,
    sample: Sample,
    who: str,
    *,
    budget: float | None = None,
    most_aside: float = MOST_ASIDE,
    occasion: str = "",
) -> Calibrated:
    """The same for a model and flows at hand; `occasion` ends the reason that the registry keeps.

    Raises InputError where the flows are too few.
    """
    origin = model.bundle
    earlier = origin.manifest.threshold
    matrix = origin.preprocessor.transform(sample.table.arrow)
    made = adapt(origin, matrix, earlier.budget if budget is None else budget, most_aside)
    change = f"{CALIBRATED} {len(matrix):,} flows of another network, {int(made.set_aside.sum()):,} of them set aside"
    parts = {"detector": made.detector, "threshold": made.threshold, "reference": made.reference}
    entry = register_derived(settings, origin, change + occasion, who, **parts)
    return Calibrated(
        origin.bundle_id,
        entry,
        str(sample),
        earlier,
        made.threshold,
        made.detector is not origin.detector,
        tuple(_set_aside(model, sample, made, matrix)),
        made.before,
        made.after,
    )


def write_set_aside(done: Calibrated, target: Path) -> None:
    """Write a CSV of all rows that were set aside, the oddest first."""
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("row", "score_before", "score", "reason", "flow"))
        table.writerows((each.row, each.score_before, each.score, each.reason, each.flow) for each in done.set_aside)


def _set_aside(model: Model, sample: Sample, made: Adapted, matrix: npt.NDArray[np.float32]) -> list[SetAside]:
    """Rows set aside, the oddest first; beyond the first 2,000 without a reason."""
    places = np.flatnonzero(made.set_aside)
    if not len(places):
        return []
    origin = model.bundle
    adapted = replace(origin, detector=made.detector, reference=made.reference)
    scores = origin.calibration.apply(made.detector.score(matrix[places]))
    order = np.argsort(-scores, kind="stable")
    places, scores = places[order], scores[order]
    earlier = origin.calibration.apply(origin.detector.score(matrix[places]))
    rows = sample.table.arrow.take(pa.array(places))
    shown = FlowTable(rows.slice(0, _EXPLAINED), model.schema.id, sample.table.meter)
    reasons = [reason[0].text for reason in explain(adapted, shown, top=1)] + [""] * (len(places) - len(shown))
    facts = zip(sample.rows[places], earlier, scores, reasons, _endpoints(rows), strict=True)
    return [SetAside(int(row), float(before), float(score), reason, flow) for row, before, score, reason, flow in facts]


def _endpoints(rows: Any) -> list[str]:
    """Between whom each flow ran, and when; empty where the rows do not say."""
    if not set(_ENDPOINTS) <= set(rows.column_names):
        return [""] * len(rows)
    return [
        "{src_ip}:{src_port} to {dst_ip}:{dst_port} at {started_at}".format_map(row)
        for row in rows.select(_ENDPOINTS).to_pylist()
    ]
