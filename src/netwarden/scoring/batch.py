"""A file of flows to a file of scores: in bounded memory, part by part, written whole or not at all."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import ipc

from netwarden.errors import InputError
from netwarden.flows.writing import FORMATS, drafts, table_writer
from netwarden.scoring.batch_report import BatchReport, Tally
from netwarden.scoring.explained import Explaining
from netwarden.scoring.intake import BATCH_ROWS, FlowBatch, RejectedInput, read_flows
from netwarden.scoring.journal import Journal, open_journal
from netwarden.scoring.model import Model, load
from netwarden.scoring.output import output_columns, output_schema
from netwarden.settings import Settings

Progress = Callable[[float], None]  # share of the work done

_SCORING = 0.97  # its share of the work; the rest is to put the parts together
_GROUP_ROWS = 131_072  # rows written at a time: a Parquet row group
_ROW = pa.field("row", pa.int64())
_REJECTED_HEADER = ("row", "line", "reason", "text")
_SCORES, _REJECTED = "scores.arrow", "rejected.csv"


@dataclass(frozen=True)
class Pieces:
    """How a run is cut: rows read at a time, and seconds of work in a part, the most that a killed run has lost."""

    batch_rows: int = BATCH_ROWS
    part_s: float = 5.0


_PIECES = Pieces()


def score_file(
    settings: Settings,
    source: Path,
    target: Path,
    *,
    schema_id: str = "",
    bundle: str = "champion",
    explain: int = 0,
    progress: Progress | None = None,
    pieces: Pieces = _PIECES,
) -> BatchReport:
    """Scores of a file that `read_flows` reads, in a Parquet, CSV or JSON-lines file (by its ending).

    Each scored flow has its input row (from 0), the schema's identifiers and times, score, verdict, family, threshold
    and prediction (0 or −1); with `explain`, each alert has that many reasons in column `why` (slow: some hundreds of
    alerts a second). Rejected rows go to TARGET.rejected.csv. `target` appears when all is done.
    A run that was killed or interrupted goes on where its last part ended, when the same is asked for again. Without
    `progress`, a bar is drawn where standard error is a terminal.
    """
    _check_paths(source, target)
    model = load(bundle, settings, schema_id or None)
    started = time.perf_counter()
    rejected_file = target.with_name(target.name + ".rejected.csv")
    with ExitStack() as stack:
        journal = stack.enter_context(open_journal(target, _job(source, target, model, explain)))
        advance = stack.enter_context(progress_bar(source.name, progress))
        kept = Tally.of_state(journal.state).rows
        tally = _score_parts(journal, source, model, Explaining(model.bundle, explain, target.suffix), advance, pieces)
        with drafts(target, rejected_file) as (draft, rejected_draft):
            _put_together(journal, draft, target.suffix, rejected_draft, advance)
    return tally.report(target, model.bundle.bundle_id, rejected_file, time.perf_counter() - started, kept)


def _check_paths(source: Path, target: Path) -> None:
    if target.suffix.lower() not in FORMATS:
        raise InputError(f"{target.name}: scores are written as {', '.join(FORMATS)}; choose one of these endings")
    if not source.is_file():
        raise InputError(f"{source} is not there, or is no file")
    if not target.parent.is_dir():
        raise InputError(f"the folder {target.parent} is not there; create it first")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the input itself; choose another name for the scores")


def _job(source: Path, target: Path, model: Model, explain: int) -> dict[str, Any]:
    """What makes two runs the same, so that one can go on with what the other has done."""
    stat = source.stat()
    return {
        "source": str(source.resolve()),
        "bytes": stat.st_size,
        "changed_ns": stat.st_mtime_ns,
        "bundle": model.bundle.bundle_id,
        "schema": model.schema.model_dump(mode="json"),
        "explain": explain,
        "format": target.suffix.lower(),
    }


# --- scoring --------------------------------------------------------------------------------------------------


def _score_parts(
    journal: Journal, source: Path, model: Model, explaining: Explaining, advance: Progress, pieces: Pieces
) -> Tally:
    """What the whole input held, once every row of it is in a part."""
    tally = Tally.of_state(journal.state)
    explaining.highest = tally.highest
    batches = read_flows(
        source,
        model.schema,
        model.vocabulary,
        published=model.published,
        batch_rows=pieces.batch_rows,
        after=tally.place,
    )
    ended = tally.ended
    while not ended:
        draft = journal.begin()
        ended = _score_part(draft, batches, model, explaining, tally, advance, pieces.part_s)
        journal.commit(draft, tally.to_state())
    return tally


def _score_part(
    folder: Path,
    batches: Iterator[FlowBatch],
    model: Model,
    explaining: Explaining,
    tally: Tally,
    advance: Progress,
    part_s: float,
) -> bool:
    """Whether the input ended; a part's scores and rejected rows are in a folder then, and counted in the tally."""
    ends_at = time.perf_counter() + part_s
    schema = output_schema([_ROW], model.schema, explaining.fields)
    with (
        table_writer(folder / _SCORES, ".arrow", schema) as write,
        (folder / _REJECTED).open("w", newline="", encoding="utf-8") as rejected,
    ):
        for batch in batches:
            write(_scored(batch, model, schema, tally, explaining))
            _write_rejected(rejected, batch.rejected)
            tally.rejected.update(item.reason for item in batch.rejected)
            tally.notes += batch.notes
            tally.place = batch.place
            advance(batch.position * _SCORING)
            if time.perf_counter() >= ends_at:
                break
        else:
            tally.ended = True
    tally.highest = explaining.highest
    return tally.ended


def _scored(batch: FlowBatch, model: Model, schema: Any, tally: Tally, explaining: Explaining) -> Any:
    result = model.scorer.score(batch.table, path="batch", unknown=tally.unknown)
    for item in result.column("verdict").value_counts().to_pylist():
        tally.verdicts[item["values"]] += item["counts"]
    why = explaining.columns(batch.table, batch.rows.tolist(), result)
    columns = [pa.array(batch.rows), *output_columns(batch.table, model.schema, result), *why]
    return pa.Table.from_arrays(columns, schema=schema)


def _write_rejected(file: Any, rejected: list[RejectedInput]) -> None:
    csv.writer(file).writerows((item.row, item.line or "", item.reason, item.text) for item in rejected)


# --- putting together -----------------------------------------------------------------------------------------


def _put_together(journal: Journal, draft: Path, suffix: str, rejected_draft: Path, advance: Progress) -> None:
    """One file of all parts' scores, and one of their rejected rows where there are any."""
    parts = journal.parts
    with ipc.open_stream(parts[0] / _SCORES) as first:
        schema = first.schema
    with table_writer(draft, suffix, schema) as write:
        for done, part in enumerate(parts):
            for table in _groups(part / _SCORES):
                write(table)
            advance(_SCORING + (1 - _SCORING) * (done + 1) / len(parts))
    _join_rejected([part / _REJECTED for part in parts], rejected_draft)


def _groups(path: Path) -> Iterator[Any]:
    """A part's tables, small ones put together."""
    with ipc.open_stream(path) as batches:
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(batch)
            if sum(map(len, waiting)) >= _GROUP_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting = []
        if waiting:
            yield pa.Table.from_batches(waiting)


def _join_rejected(parts: Iterable[Path], target: Path) -> None:
    held = [path for path in parts if path.stat().st_size]
    if not held:
        return
    with target.open("wb") as joined:
        joined.write((",".join(_REJECTED_HEADER) + "\r\n").encode())
        for path in held:
            with path.open("rb") as rows:
                shutil.copyfileobj(rows, joined)


@contextmanager
def progress_bar(name: str, instead: Progress | None = None) -> Iterator[Progress]:
    """A function that shows progress: the one given instead, else a bar where standard error is a terminal."""
    if instead is not None:
        yield instead
        return
    from rich.console import Console  # noqa: PLC0415 - only where a person may be watching
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)
