"""How well a scenario repeats: two recordings of it side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwarden.errors import InputError
from netwarden.lab.record import SUMMARY

TOLERANCE = 0.05  # share of a label's flows by which recordings of a scenario may differ


@dataclass(frozen=True)
class Comparison:
    """Flows by label of two recordings of one scenario."""

    scenario: str
    first: dict[str, int]
    second: dict[str, int]

    @property
    def differing(self) -> tuple[str, ...]:
        """Labels whose flows differ by more than the tolerance."""
        return tuple(label for label in self._labels if abs(self._change(label)) > TOLERANCE)

    def __str__(self) -> str:
        width = max(map(len, self._labels))
        counts = [(label, self.first.get(label, 0), self.second.get(label, 0)) for label in self._labels]
        lines = [f"{label:<{width}} {one:>7,} {other:>7,} {self._change(label):>+7.1%}" for label, one, other in counts]
        alike = len(self._labels) - len(self.differing)
        told = f"{self.scenario}: {alike} of {len(self._labels)} labels within {TOLERANCE:.0%}"
        return "\n".join([*lines, told + (f"; beyond it: {', '.join(self.differing)}" if self.differing else "")])

    @property
    def _labels(self) -> list[str]:
        return sorted({*self.first, *self.second})

    def _change(self, label: str) -> float:
        before = self.first.get(label, 0)
        return (self.second.get(label, 0) - before) / before if before else float("inf")


def compare_recordings(first: Path, second: Path) -> Comparison:
    """Two recordings side by side. Raises InputError where one is no recording, or they are of different scenarios."""
    one, other = (_summary(folder) for folder in (first, second))
    if one["scenario"] != other["scenario"]:
        raise InputError(f"{first} is of {one['scenario']}, {second} of {other['scenario']}; compare recordings of one")
    return Comparison(one["scenario"], one["labels"], other["labels"])


def _summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    if not path.is_file():
        raise InputError(
            f"{folder} is no recording: it has no {SUMMARY}, which `netwarden lab record` writes at its end"
        )
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
