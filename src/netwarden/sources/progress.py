"""A load on the terminal: where the rows go, then a bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from netwarden.sources.etl import EtlStep
from netwarden.sources.etl import Progress as Report


@contextmanager
def load_progress() -> Iterator[Report]:
    """A progress callback. It prints the store to standard output first; the bar goes to standard error."""
    out = Console(soft_wrap=True, highlight=False, markup=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0, rows=0)

        def show(step: EtlStep) -> None:
            if not step.file:
                out.print(f"rows go to {step.store}")
            bar.update(task, description=step.file or "starting", completed=step.fraction, rows=step.rows)

        yield show
