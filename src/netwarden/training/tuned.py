"""What a study of parameters is about, and what came of it; the search itself is in tune.py."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from netwarden.detector_params import Choice, Range, search_space
from netwarden.detectors.kinds import detector_kind
from netwarden.errors import ConfigError
from netwarden.evaluation.split import assign_parts
from netwarden.flows.schema import FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import Params
from netwarden.training.fit import budget_in_force
from netwarden.training.rows import training_hash
from netwarden.training.selection import HeldOutTypes, hold_out_types
from netwarden.training.tracking import RunRecord

Value = int | float | str | None


@dataclass(frozen=True)
class Task:
    """Parameters of one detector kind, to be tuned on the training rows of one dataset.

    `facts`: all that the figure of a trial depends on besides the tuned values; equal facts make trials comparable.
    """

    params: Params
    space: Mapping[str, Range | Choice]
    held_out: HeldOutTypes
    facts: dict[str, str]

    @property
    def section(self) -> str:
        return detector_kind(self.params.train.detector).section

    @property
    def present(self) -> dict[str, Value]:
        """Values of params.json, by path within the section."""
        known = _by_path(getattr(self.params, self.section).model_dump(mode="json"))
        return {path: known[path] for path in self.space}

    def with_values(self, values: Mapping[str, Value]) -> Params:
        """The parameters with these values in the section."""
        section: BaseModel = getattr(self.params, self.section)
        changed = section.model_dump(mode="json")
        for path, value in values.items():
            *folders, name = path.split(".")
            place = changed
            for folder in folders:
                place = place[folder]
            place[name] = value
        return self.params.model_copy(update={self.section: type(section).model_validate(changed)})


@dataclass(frozen=True)
class Trial:
    """Values tried. `value` is None where it was given up half-way; `figures` tell more of the rows that judged."""

    number: int
    values: dict[str, Value]
    value: float | None
    figures: dict[str, float]
    started_ms: int
    ended_ms: int


@dataclass(frozen=True)
class Tuned:
    """A study as it stands, all its runs together. The first trial has the parameters as they were when it began."""

    path: Path
    task: Task
    trials: tuple[Trial, ...]  # finished or given up
    failed: tuple[str, ...]  # why trials came to nothing

    @property
    def finished(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.value is not None]

    @property
    def best(self) -> Trial | None:
        return max(self.finished, key=lambda trial: trial.value or 0.0, default=None)

    def describe(self) -> str:
        """The best trial beside the first, for people."""
        counts = f"{len(self.finished)} trials finished, {len(self.trials) - len(self.finished)} given up half-way"
        failed = f", {len(self.failed)} failed: {self.failed[-1]}" if self.failed else ""
        lines = [f"{self.path}: {counts}{failed}"]
        first = next((trial for trial in self.finished if trial.number == 0), None)
        for name, trial in (("to begin with", first), ("best", self.best)):
            if trial is not None:
                lines.append(f"{name}: trial {trial.number}, {_told(trial)}")
        if self.best:
            lines += [f"  {self.task.section}.{path} = {json.dumps(value)}" for path, value in self.best.values.items()]
        return "\n".join(lines)

    def records(self, experiment: str) -> list[RunRecord]:
        """Each trial as a run to be tracked; the same trial has the same key however often it is logged."""
        facts = self.task.facts
        return [
            RunRecord(
                key=f"tune-{facts['training rows']}-{self.path.stem}-{trial.started_ms}",
                name=f"{self.path.stem}-{trial.number}",
                experiment=experiment,
                schema_id=self.task.held_out.schema.id,
                bundle_id="",
                champion=False,
                started_ms=trial.started_ms,
                ended_ms=trial.ended_ms,
                params={f"{self.task.section}.{path}": str(value) for path, value in trial.values.items()},
                metrics=trial.figures | ({} if trial.value is None else {"unseen_recall": trial.value}),
                tags={"netwarden.study": self.path.stem, "netwarden.pruned": str(trial.value is None).lower()},
                dataset={
                    "name": facts["dataset"],
                    "digest": facts["training rows"],
                    "source": f"netwarden store, dataset {facts['dataset']}",
                    "profile": "{}",
                },
            )
            for trial in self.trials
        ]


def task_of(params: Params, dataset: str, table: FlowTable, schema: FlowSchema, seeds: Sequence[int]) -> Task:
    """Task for the detector that `params` name. Raises ConfigError for a kind that has nothing to tune."""
    kind = detector_kind(params.train.detector)
    section: BaseModel = getattr(params, kind.section)
    space = search_space(type(section))
    if not space:
        raise ConfigError(
            f"detector kind {kind.name} has nothing to tune: no parameter of section {kind.section} has a range "
            "(src/netwarden/detector_params.py)"
        )
    shaping = {
        "transform": params.transform.model_dump(mode="json"),
        "resample": params.train.resample.model_dump(mode="json"),
        kind.section: section.model_dump(mode="json"),
    }
    tuned = {f"{kind.section}.{path}" for path in space}
    facts = {
        "detector": kind.name,
        "dataset": dataset,
        "training rows": training_hash(table, assign_parts(table, schema, params.transform))[:16],
        "budget": f"{budget_in_force(params):g}",
        "seeds": ",".join(map(str, seeds)),
        **{path: str(value) for path, value in _by_path(shaping).items() if path not in tuned},
        **{f"range of {path}": str(where) for path, where in space.items()},
    }
    return Task(params, space, hold_out_types(table, schema, params, seeds), facts)


def _by_path(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sections.items():
        path = f"{prefix}{name}"
        found |= _by_path(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def _told(trial: Trial) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in trial.figures.items())
    return f"recall of held-out attack names {trial.value:.4f} ({figures})"
