"""A file of flows to a file of scores, in bounded memory, written whole or not at all."""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import InputError
from netwarden.flows.alert import VERDICTS
from netwarden.flows.schema import Column, FlowSchema
from netwarden.flows.table import FlowTable, arrow_type
from netwarden.flows.writing import FORMATS, drafts, table_writer
from netwarden.scoring.explained import ExplainedAlert, Explaining
from netwarden.scoring.intake import FlowBatch, RejectedInput, read_flows
from netwarden.scoring.model import Model, load
from netwarden.scoring.scorer import RESULT
from netwarden.settings import Settings

Progress = Callable[[float], None]  # share of the input done

_ROW = pa.field("row", pa.int64())
_PREDICTION = pa.field("prediction", pa.int8())  # 0 benign, −1 attack: how users of arrays write it
_REJECTED_HEADER = ("row", "line", "reason", "text")


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

    @property
    def rows(self) -> int:
        """Rows scored."""
        return sum(self.verdicts.values())

    def __str__(self) -> str:
        counts = ", ".join(f"{rows:,} {verdict}" for verdict, rows in self.verdicts.items())
        lines = [
            f"{self.rows:,} flows scored with bundle {self.bundle_id} into {self.target} "
            f"in {self.seconds:.1f} s ({self.rows / max(self.seconds, 1e-9):,.0f}/s): {counts}"
        ]
        if self.rejected_file:
            lines.append(f"{sum(self.rejected.values()):,} rows rejected, listed in {self.rejected_file}:")
            lines += [f"  {rows:,} × {reason}" for reason, rows in Counter(self.rejected).most_common(10)]
        lines += [f"{values:,} values of {name} that training never saw" for name, values in self.unknown.items()]
        lines += self.notes
        if self.highest:
            alerts = self.rows - self.verdicts["benign"]
            lines += [f"the highest of {alerts:,} alerts, all explained in column why:", *map(str, self.highest)]
        return "\n".join(lines)


def score_file(
    settings: Settings,
    source: Path,
    target: Path,
    *,
    schema_id: str = "",
    bundle: str = "champion",
    explain: int = 0,
    progress: Progress | None = None,
) -> BatchReport:
    """Scores of a file that `read_flows` reads, in a Parquet, CSV or JSON-lines file (by its ending).

    Each scored flow has its input row (from 0), the schema's identifiers and times, score, verdict, family, threshold
    and prediction (0 or −1); with `explain`, each alert has that many reasons in column `why` (slow: some hundreds of
    alerts a second). Rejected rows go to TARGET.rejected.csv. `target` appears when all is done.
    Without `progress`, a bar is drawn where standard error is a terminal.
    """
    _check_paths(source, target)
    model = load(bundle, settings, schema_id or None)
    started = time.perf_counter()
    counts = _Counts(Counter(), Counter(), Counter())
    explaining = Explaining(model.bundle, explain, target.suffix)
    notes: tuple[str, ...] = ()
    rejected_file = target.with_name(target.name + ".rejected.csv")
    with drafts(target, rejected_file) as (draft, rejected_draft), ExitStack() as open_files:
        advance = progress or open_files.enter_context(_bar(source.name))
        write = open_files.enter_context(table_writer(draft, target.suffix, _output_schema(model.schema, explaining)))
        write_rejected = open_files.enter_context(_rejected_writer(rejected_draft))
        for batch in read_flows(source, model.schema, model.vocabulary, published=model.published):
            write(_scored(batch, model, counts, explaining))
            write_rejected(batch.rejected)
            counts.rejected.update(item.reason for item in batch.rejected)
            notes += batch.notes
            advance(batch.position)
    return BatchReport(
        target,
        model.bundle.bundle_id,
        {verdict: counts.verdicts[verdict] for verdict in VERDICTS},
        dict(counts.rejected),
        rejected_file if counts.rejected else None,
        dict(counts.unknown),
        time.perf_counter() - started,
        notes,
        explaining.highest,
    )


@dataclass(frozen=True)
class _Counts:
    verdicts: Counter[str]
    rejected: Counter[str]
    unknown: Counter[str]


def _check_paths(source: Path, target: Path) -> None:
    if target.suffix.lower() not in FORMATS:
        raise InputError(f"{target.name}: scores are written as {', '.join(FORMATS)}; choose one of these endings")
    if not source.is_file():
        raise InputError(f"{source} is not there, or is no file")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} is not there; create it first")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the input itself; choose another name for the scores")


def _output_schema(schema: FlowSchema, explaining: Explaining) -> Any:
    about = [pa.field(column.name, arrow_type(column)) for column in _identifying(schema)]
    return pa.schema([_ROW, *about, *RESULT, _PREDICTION, *explaining.fields])


def _identifying(schema: FlowSchema) -> list[Any]:
    return [column for column in schema.stored if column.role in ("identifier", "time")]


def _scored(batch: FlowBatch, model: Model, counts: _Counts, explaining: Explaining) -> Any:
    result = model.scorer.score(batch.table, path="batch", unknown=counts.unknown)
    for item in result.column("verdict").value_counts().to_pylist():
        counts.verdicts[item["values"]] += item["counts"]
    about = [_column(batch.table, column) for column in _identifying(model.schema)]
    why = explaining.columns(batch.table, batch.rows.tolist(), result)
    columns = [pa.array(batch.rows), *about, *result.columns, prediction(result), *why]
    return pa.Table.from_arrays(columns, schema=_output_schema(model.schema, explaining))


def _column(table: FlowTable, column: Column) -> Any:
    """A column of a table; empty where its source has none, as captures lack what a laboratory knows."""
    present = column.name in table.names
    return table.arrow.column(column.name) if present else pa.nulls(len(table), arrow_type(column))


def prediction(result: Any) -> Any:
    """0 for benign and −1 for intrusion, as users of `.npy` uploads expect, of a result of `Scorer.score`."""
    alert = pc.not_equal(result.column("verdict"), "benign")
    return pc.negate(alert.cast(pa.int8()))


# --- writing --------------------------------------------------------------------------------------------------


@contextmanager
def _rejected_writer(path: Path) -> Iterator[Callable[[list[RejectedInput]], None]]:
    """Writes rejected rows; the file begins with the first of them."""
    with ExitStack() as opened:
        rows: Any = None

        def write(rejected: list[RejectedInput]) -> None:
            nonlocal rows
            if rejected and rows is None:
                rows = csv.writer(opened.enter_context(path.open("w", newline="", encoding="utf-8")))
                rows.writerow(_REJECTED_HEADER)
            for item in rejected:
                rows.writerow((item.row, item.line or "", item.reason, item.text))

        yield write


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.console import Console  # noqa: PLC0415 - only where a person may be watching
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)
