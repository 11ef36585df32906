"""Flow tables into a file, or as JSON lines on standard output; the progress of it on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from netwarden.capture.metering import MeterReport, Progress
from netwarden.capture.output import as_cicflowmeter, with_payload_as_text
from netwarden.capture.payload import MOST_PAYLOAD_BYTES
from netwarden.errors import ConfigError, InputError
from netwarden.flows.table import FlowTable
from netwarden.flows.writing import FORMATS, drafts, table_writer, why, write_lines

NAMES = ("netwarden", "cicflowmeter")


def check_output(target: str, names: str, captures: Sequence[str]) -> None:
    """Raise what is wrong with an output before anything is metered."""
    if names not in NAMES:
        raise ConfigError(f"no column names {names!r}; known: {', '.join(NAMES)}")
    if target == "-":
        return
    path = Path(target)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path.name}: flows are written as {', '.join(FORMATS)}; choose one of these endings, or -")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} is not there; create it first")
    if path.exists() and any(Path(capture).exists() and path.samefile(capture) for capture in captures):
        raise InputError(f"{target} is one of the captures; choose another name for the flows")
    _try_writing(path)


def _try_writing(path: Path) -> None:
    """Raise what is in the way of a file now rather than when all is metered."""
    try:
        with TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; is the folder read-only, or the disk full?"
        ) from None


def check_payload(payload_first: int, names: str) -> None:
    """Raise what is wrong with asking for payload bytes; 0 asks for none."""
    if payload_first and names == "cicflowmeter":
        raise ConfigError("the original's table has no columns for payload bytes; leave out --payload-first or --names")
    if not 0 <= payload_first <= MOST_PAYLOAD_BYTES:
        raise ConfigError(f"--payload-first is {payload_first}; it must lie between 0 and {MOST_PAYLOAD_BYTES:,}")


def write_flows(tables: Iterator[FlowTable], target: str, like: FlowTable, *, names: str = "netwarden") -> None:
    """Write all tables, whose columns are those of `like`. A file appears when the last is written; `-` writes JSON
    lines as the flows come.

    `names="cicflowmeter"` gives the original tool's columns, order and time format. Payload bytes are binary in Parquet
    and hexadecimal text elsewhere.
    """
    render = _rendering(target, names)
    if target == "-":
        for table in tables:
            _print_lines(render(table))
        return
    path = Path(target)
    schema, plain = render(like).schema, names == "cicflowmeter"
    with drafts(path) as (draft,), table_writer(draft, path.suffix, schema, plain_csv=plain) as write:
        for table in tables:
            write(render(table))


def _print_lines(table: Any) -> None:
    try:
        write_lines(sys.stdout, table)
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever read has seen enough, which is no error
    except OSError as error:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python fails at the same again on its way out
        raise InputError(f"standard output cannot be written: {why(error)}") from None


def _rendering(target: str, names: str) -> Callable[[FlowTable], Any]:
    if names == "cicflowmeter":
        return as_cicflowmeter
    return (lambda table: table.arrow) if target.lower().endswith(".parquet") else with_payload_as_text


@contextmanager
def meter_progress(captures: Sequence[str]) -> Iterator[Progress]:
    """A progress callback; draws a bar where standard error is a terminal, of unknown length for pipes and live."""
    from rich.console import Console  # noqa: PLC0415 - only where a person may be watching
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("{task.fields[packets]:,} packets, {task.fields[flows]:,} flows"), BarColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("metering", total=_size(captures), packets=0, flows=0)

        def show(report: MeterReport) -> None:
            done = report.stream.bytes + _RECORD_BYTES * report.stream.frames
            bar.update(task, completed=done, packets=report.packets, flows=report.flows)

        yield show


_RECORD_BYTES = 16  # of header before each frame of a pcap


def _size(captures: Sequence[str]) -> int | None:
    """Bytes to be read, where that is known beforehand."""
    paths = [Path(capture) for capture in captures]
    plain = all(path.suffix in (".pcap", ".cap", ".pcapng") and path.is_file() for path in paths)
    return sum(path.stat().st_size for path in paths) if paths and plain else None
