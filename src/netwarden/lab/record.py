"""Recordings: a scenario played, captured, metered and labelled, in one folder that appears when all of it is there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures, no_flows
from netwarden.errors import ConfigError
from netwarden.flows.labels import BENIGN, Families
from netwarden.flows.schema import FAMILY, LABEL
from netwarden.flows.table import FlowTable
from netwarden.lab.drafts import appearing
from netwarden.lab.runner import Played, Say, play
from netwarden.lab.scenario import LONGEST_S, Scenario
from netwarden.lab.truth import GroundTruth, Labels, ground_truth, label_flows, save_truth

CAPTURE, TRUTH, FLOWS, SUMMARY = "capture.pcap.zst", "truth.json.gz", "flows.parquet", "summary.json"
ACTIVITY, TOOL = "activity", "tool"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Recording:
    """What a recording holds, in numbers. `activities` by name: label, tool, flows."""

    scenario: str
    seconds: float
    packets: int
    drops: dict[str, int]
    labels: dict[str, int]
    activities: dict[str, dict[str, Any]]
    shared: int
    reports: dict[str, dict[str, Any]]

    def __str__(self) -> str:
        flows = sum(self.labels.values())
        attacks = flows - self.labels.get(BENIGN, 0)
        lines = [
            f"{self.scenario}: {self.packets:,} packets in {self.seconds:.0f} s, {flows:,} flows, "
            f"{attacks:,} of them attacks ({attacks / max(flows, 1):.1%})",
            "dropped: " + (", ".join(f"{count:,} {why}" for why, count in sorted(self.drops.items())) or "none"),
            f"flows in which a second activity speaks between the same endpoints: {self.shared:,}",
        ]
        lines += [f"  {count:>9,}  {label}" for label, count in sorted(self.labels.items())]
        lines.append("by activity:")
        for name, told in self.activities.items():
            lines.append(
                f"  {told['flows']:>9,}  {name} ({told['label']}, {told['tool']}) {_report(self.reports, name)}"
            )
        failed = {name: report["failed"] for name, report in self.reports.items() if "failed" in report}
        lines += [f"failed: {name}: {why}" for name, why in failed.items()]
        return "\n".join(lines)


def _report(reports: dict[str, dict[str, Any]], name: str) -> str:
    return " ".join(f"{key}={value}" for key, value in reports.get(name, {}).items() if key != "failed")


def record(scenario: Scenario, folder: Path, families: Families, say: Say) -> Recording:
    """Play a scenario and leave its recording in `folder`, in place of an earlier one.

    The folder holds CAPTURE, TRUTH, FLOWS (our meter's, in corrected mode, with label, family, activity and tool),
    SUMMARY and the programs' logs. Raises LabError or ConfigError, and then leaves nothing.
    """
    labels = {activity.label: families.canonical(activity.label) for activity in scenario.activities if activity.label}
    family_of = {label: BENIGN if label == BENIGN else families.family(label) for label in (BENIGN, *labels.values())}
    for spelled, name in labels.items():
        if spelled != name:
            raise ConfigError(f"scenario {scenario.name}: label {spelled!r} is called {name!r} in schema/families.yaml")
    with appearing(folder, SUMMARY) as draft:
        played = play(scenario, draft, say)
        say(f"{played.packets:,} packets recorded; metering")
        truth = ground_truth(scenario, played)
        save_truth(truth, draft / TRUTH)
        flows = meter_recording(draft / "capture.pcap")
        labelled = label_flows(flows, truth)
        pq.write_table(_with_labels(flows, labelled, family_of), draft / FLOWS, compression="zstd")
        _compress(draft / "capture.pcap", draft / CAPTURE)
        recording = _summary(scenario, played, truth, labelled)
        (draft / SUMMARY).write_text(json.dumps(recording.__dict__, indent=1) + "\n", encoding="utf-8")
    return recording


def meter_recording(capture: Path) -> FlowTable:
    """The flows of a capture in corrected mode, as one table."""
    settings = MeterSettings()
    tables = list(meter_captures([capture], settings))
    nothing = no_flows(settings)
    whole = pa.concat_tables([nothing.arrow, *(table.arrow for table in tables)]).combine_chunks()
    return FlowTable(whole, nothing.schema_id, nothing.meter)


def _with_labels(flows: FlowTable, labels: Labels, family_of: dict[str, str]) -> Any:
    label = labels.column("label")
    columns = {
        LABEL: label,
        FAMILY: pa.array([family_of[name] for name in label.to_pylist()], pa.string()),
        ACTIVITY: labels.column("name"),
        TOOL: labels.column("tool"),
    }
    table = flows.arrow
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _summary(scenario: Scenario, played: Played, truth: GroundTruth, labels: Labels) -> Recording:
    owners = Counter(labels.owner.tolist())
    by_label: Counter[str] = Counter()
    for nth, flows in owners.items():
        by_label[truth.owners[nth].label] += flows
    hosts = len(scenario.hosts)
    activities = {
        owner.name: {"label": owner.label, "tool": owner.tool or "services", "flows": owners.get(nth, 0)}
        for nth, owner in enumerate(truth.owners)
        if nth >= hosts or owners.get(nth, 0)
    }
    return Recording(
        scenario.name,
        round(played.seconds, 1),
        played.packets,
        played.drops,
        dict(sorted(by_label.items())),
        activities,
        int(labels.shared.sum()),
        played.reports,
    )


def _compress(source: Path, target: Path) -> None:
    with source.open("rb") as plain, pa.CompressedOutputStream(str(target), "zstd") as packed:
        while chunk := plain.read(_CHUNK_BYTES):
            packed.write(chunk)
    source.unlink()


def only(scenario: Scenario, activities: Sequence[str], length_s: float = 0.0) -> Scenario:
    """The scenario with some of its activities, begun at once where `length_s` shortens it. For trying programs."""
    if not 0 <= length_s <= LONGEST_S:
        raise ConfigError(f"a scenario cannot last {length_s:g} s, but at most {LONGEST_S} s")
    known = {activity.id for activity in scenario.activities}
    unknown = sorted(set(activities) - known)
    if unknown:
        raise ConfigError(f"{scenario.name} has no activity {unknown[0]!r}; it has {', '.join(sorted(known))}")
    kept = [activity for activity in scenario.activities if not activities or activity.id in activities]
    if length_s:
        kept = [activity.model_copy(update={"from_s": 0.0, "until_s": length_s}) for activity in kept]
    return scenario.model_copy(update={"activities": tuple(kept), "length_s": length_s or scenario.length_s})
