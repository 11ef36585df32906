"""What a batch run did, for people; and how far it had come, for the run that goes on after it was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from netwarden.flows.alert import VERDICTS
from netwarden.scoring.explained import ExplainedAlert
from netwarden.scoring.intake import START, Place


@dataclass(frozen=True)
class BatchReport:
    """What a batch run did."""

    target: Path
    bundle_id: str
    verdicts: dict[str, int]
    rejected: dict[str, int]  # reason → rows
    rejected_file: Path | None
    unknown: dict[str, int]  # column → values outside the vocabulary
    seconds: float
    notes: tuple[str, ...] = ()  # what the input held besides flows
    highest: tuple[ExplainedAlert, ...] = ()  # alerts, where they were to be explained
    kept: int = 0  # rows that an earlier run, killed or interrupted, had scored

    @property
    def rows(self) -> int:
        """Rows scored."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{rows:,} {verdict}" for verdict, rows in self.verdicts.items())
        lines = [
            f"{self.rows:,} flows scored with bundle {self.bundle_id} into {self.target} "
            f"in {self.seconds:.1f} s ({(self.rows - self.kept) / max(self.seconds, 1e-9):,.0f}/s): {counts}"
        ]
        if self.kept:
            lines.append(f"{self.kept:,} of them were scored by an earlier run that did not come to its end")
        if self.rejected_file:
            lines += rejected_lines(self.rejected, str(self.rejected_file))
        lines += [f"{values:,} values of {name} that training never saw" for name, values in self.unknown.items()]
        lines += self.notes
        if self.highest:
            alerts = self.rows - self.verdicts["benign"]
            lines += [f"the highest of {alerts:,} alerts, all explained in column why:", *map(str, self.highest)]
        return "\n".join(lines)


def rejected_lines(rejected: Mapping[str, int], place: str) -> list[str]:
    """How many rows were rejected, where they are listed, and the reasons that were most frequent."""
    head = f"{sum(rejected.values()):,} rows rejected, listed in {place}:"
    return [head, *(f"  {rows:,} × {reason}" for reason, rows in Counter(rejected).most_common(10))]


@dataclass
class Tally:
    """What a run has found up to a place of its input. `ended`: there is nothing behind it."""

    verdicts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()
    highest: tuple[ExplainedAlert, ...] = ()
    place: Place = START
    ended: bool = False

    @property
    def rows(self) -> int:
        """Rows scored."""
        return self.verdicts.total()

    def to_state(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dict(_TALLY.dump_python(self, mode="json"))

    @staticmethod
    def of_state(state: dict[str, Any]) -> Tally:
        """What `to_state` gave; of nothing, the start."""
        return _TALLY.validate_python(state)

    def report(self, target: Path, bundle_id: str, rejected_file: Path, seconds: float, kept: int) -> BatchReport:
        """The same for people, once a run has ended."""
        return BatchReport(
            target,
            bundle_id,
            {verdict: self.verdicts[verdict] for verdict in VERDICTS},
            dict(self.rejected),
            rejected_file if self.rejected else None,
            dict(self.unknown),
            seconds,
            self.notes,
            self.highest,
            kept,
        )


_TALLY = TypeAdapter(Tally)
