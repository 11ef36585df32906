"""The reasons of alerts beside their scores: a column for files, sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.detectors.bundle import DetectorBundle
from netwarden.flows.table import FlowTable
from netwarden.scoring.explain import Reason, explain

_SHOWN = 5  # alerts that a report explains
_AT_ONCE = 1_000  # rows
_NUMBERS = ("share", "portion")
_TEXTS = ("part", "feature", "value", "unit", "shown", "usual", "text")
_RECORDS = pa.list_(pa.struct([*((name, pa.string()) for name in _TEXTS), *((n, pa.float64()) for n in _NUMBERS)]))

_Reasons = list[Reason] | None  # of a row; None where it is no alert


@dataclass(frozen=True)
class ExplainedAlert:
    """An alert as a report shows it."""

    row: int
    verdict: str
    family: str | None
    score: float
    threshold: float
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        name = ", ".join(filter(None, (self.verdict.replace("_", " "), self.family)))
        head = f"row {self.row}: {name}; score {self.score:.4f}, alerts from {self.threshold:.4f}"
        return "\n".join([head, *(f"  {reason.part:<10}  {reason.text}" for reason in self.reasons)])


class Explaining:
    """Makes the column of reasons of a file, batch by batch, and remembers its highest alerts. With `top` 0, neither.

    The column is a list of records; in CSV, their sentences with ` | ` between. It is null where a row is no alert.
    """

    def __init__(self, bundle: DetectorBundle, top: int, suffix: str) -> None:
        self.highest: tuple[ExplainedAlert, ...] = ()
        self._bundle = bundle
        self._top = top
        self._plain = suffix.lower() == ".csv"

    @property
    def fields(self) -> list[Any]:
        """The column's Arrow field, if there is one."""
        return [pa.field("why", pa.string() if self._plain else _RECORDS)] * bool(self._top)

    def columns(self, table: FlowTable, rows: Sequence[int], result: Any) -> list[Any]:
        """The column's values, if there is one: of flows, their input rows, and what `Scorer.score` said of them."""
        if not self._top:
            return []
        reasons = list(self._reasons(table, result))
        self._remember(rows, result, reasons)
        value = _sentences if self._plain else _records
        return [pa.array([None if why is None else value(why) for why in reasons], self.fields[0].type)]

    def _reasons(self, table: FlowTable, result: Any) -> Iterator[_Reasons]:
        alert = pc.not_equal(result.column("verdict"), "benign").to_numpy(zero_copy_only=False)
        for start in range(0, len(table), _AT_ONCE):
            marks = alert[start : start + _AT_ONCE]
            part = table.slice(start, _AT_ONCE)
            alerts = FlowTable(part.arrow.filter(pa.array(marks)), part.schema_id, part.meter)
            found = iter(explain(self._bundle, alerts, self._top) if len(alerts) else ())
            yield from (next(found) if mark else None for mark in marks)

    def _remember(self, rows: Sequence[int], result: Any, reasons: Sequence[_Reasons]) -> None:
        judged = zip(rows, result.to_pylist(), reasons, strict=True)
        alerts = [
            ExplainedAlert(int(row), said["verdict"], said["family"], said["score"], said["threshold"], tuple(why))
            for row, said, why in judged
            if why is not None
        ]
        best = sorted([*self.highest, *alerts], key=lambda alert: (-alert.score, alert.row))
        self.highest = tuple(best[:_SHOWN])


def _sentences(why: Sequence[Reason]) -> str:
    return " | ".join(reason.text for reason in why)


def _records(why: Sequence[Reason]) -> list[dict[str, Any]]:
    return [
        asdict(reason) | {"value": None if reason.value is None else str(reason.value), "text": reason.text}
        for reason in why
    ]
