"""Text files of flows (CSV, Zeek logs, JSON lines; plain or gzip) to tables of text, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from netwarden.errors import InputError
from netwarden.sources.json_lines import parse_records
from netwarden.sources.text_layout import CHUNK_BYTES, ZEEK_GAP, Layout, decoded, open_text

_LONGEST_LINE_BYTES = 1 << 24
_LINE_END = re.compile("\r+\n")


@dataclass(frozen=True)
class TextBlock:
    """Some consecutive records of a file, as text.

    `lines` and `records` are per row of the table: line number (from 1) and place among the records (from 0).
    `malformed` lists records of another width: line, reason, text. `skipped` counts records that are no flows, by
    kind. `last_line` is the line that the block ends with, `position` the share of the file read so far.
    """

    table: Any
    lines: npt.NDArray[np.int64]
    records: npt.NDArray[np.int64]
    malformed: list[tuple[int, str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    repeated_headers: int = 0
    records_so_far: int = 0
    last_line: int = 0
    position: float = 0.0


def read_blocks(path: Path, layout: Layout, block_rows: int, after_line: int = 0) -> Iterator[TextBlock]:
    """Every record of a file, or those after a line, in blocks of at most so many, in bounded memory.

    A record is one line: line breaks inside quotes are not read. Raises InputError that names the line up to which a
    damaged file could be read.
    """
    line, record = after_line, 0
    headers_due = 1 if layout.header and not after_line else 0
    for whole, lines_in_text, position in _line_blocks(path, layout.encoding, block_rows, after_line):
        text, numbers, headers = _records_only(
            whole, np.arange(line + 1, line + 1 + lines_in_text), layout, bool(headers_due)
        )
        skipped: Counter[str] = Counter()
        if layout.json:
            table, rows, malformed, skipped = parse_records(text, layout.names, layout.only)
        else:
            table, rows, malformed = _parse(text, layout)
        places = np.sort(np.concatenate([rows, [row for row, _, _ in malformed]]).astype(np.int64))
        yield TextBlock(
            table,
            numbers[rows],
            record + np.searchsorted(places, rows),
            [(int(numbers[row]), reason, text) for row, reason, text in malformed],
            skipped,
            max(headers - headers_due, 0),
            record + len(places),
            line + lines_in_text,
            position,
        )
        line += lines_in_text
        record += len(places)
        headers_due = max(headers_due - headers, 0)


def parse_lines(data: bytes, layout: Layout) -> tuple[Any, npt.NDArray[np.int64], list[tuple[int, str, str]]]:
    """Table of the records among some lines, each with its line feed, and the place (from 0) of each among the lines.

    Last come those of another width: place, reason, text. Headers, comments and blank lines are left out.
    """
    lines = np.arange(data.count(b"\n"))
    text, places, _ = _records_only(decoded(data, layout.encoding), lines, layout, False)
    table, rows, wrong = _parse(text, layout)
    return table, places[rows], [(int(places[row]), reason, line) for row, reason, line in wrong]


def _line_blocks(path: Path, encoding: str, block_rows: int, after_line: int) -> Iterator[tuple[str, int, float]]:
    """Whole lines behind a line as text, how many, and the share of the file read so far."""
    size = max(path.stat().st_size, 1)
    done = taken = read = 0  # lines and bytes dealt with, bytes read, all after decompression
    with open_text(path) as (stream, raw):
        rest, ahead = b"", b""
        while True:
            try:
                chunk, ahead = ahead or stream.read(CHUNK_BYTES), stream.read(CHUNK_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(f"{path.name} is damaged after line {done}: {error}; was it copied whole?") from None
            data = rest + chunk
            read = taken + len(data) + len(ahead)
            if data and not ahead and not data.endswith(b"\n"):
                data += b"\n"
            ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")) + 1
            passed = min(max(after_line - done, 0), len(ends))
            start = int(ends[passed - 1]) if passed else 0
            taken, done = taken + start, done + passed
            for first in range(passed, len(ends), block_rows):
                last = min(first + block_rows, len(ends)) - 1
                block = data[start : ends[last]]
                taken += len(block)
                done += last - first + 1
                position = min(raw.tell() / size * taken / read, 1.0)
                yield decoded(block, encoding), last - first + 1, position
                start = int(ends[last])
            if not ahead:
                return
            rest = data[start:]
            if len(rest) > _LONGEST_LINE_BYTES:
                raise InputError(f"{path.name} has a line of over 16 MiB after line {done}; is it a table of text?")


def _records_only(
    text: str, numbers: npt.NDArray[np.int64], layout: Layout, header_due: bool
) -> tuple[str, npt.NDArray[np.int64], int]:
    """Text without blank lines, comments and header lines; line numbers of what is left; header lines dropped."""
    if layout.gap:
        text = text.replace(ZEEK_GAP, "\t")
    text = text.removeprefix("\ufeff")
    if "\r" in text:  # one or more before a line's end belong to it; inside a line it is no line end
        text = _LINE_END.sub("\n", text).replace("\r", " ")
    # One column called `attack` may well hold the value `attack`: there only the first line is a header.
    header = layout.header.rstrip() if header_due or len(layout.names) > 1 else ""
    suspect = text.startswith("\n") or "\n\n" in text
    suspect |= bool(layout.comment) and layout.comment in text
    suspect |= bool(header) and header in text
    if not suspect:
        return text, numbers, 0
    headers = 0
    kept: list[int] = []
    lines = text.split("\n")[: len(numbers)]
    for index, line in enumerate(lines):
        if header and line.rstrip() == header:
            headers += 1
            header = header if len(layout.names) > 1 else ""
        elif line and not (layout.comment and line.startswith(layout.comment)):
            kept.append(index)
    return "".join(lines[index] + "\n" for index in kept), numbers[kept], headers


_Wrong = list[tuple[int, str, str]]  # place among the records, reason, text


def _parse(text: str, layout: Layout) -> tuple[Any, npt.NDArray[np.int64], _Wrong]:
    """Records of a text as a table, which of them it holds, and the others."""
    records = text.count("\n")
    wrong: _Wrong = []

    def skip(row: Any) -> str:
        wrong.append((row.number - 1, _width_fault(row.actual_columns, layout), row.text))
        return "skip"

    positions = [str(position) for position in range(len(layout.names))]
    if not records:
        table = pa.table({position: pa.array([], pa.string()) for position in positions})
    else:
        table = pacsv.read_csv(
            pa.py_buffer(text.encode()),
            read_options=pacsv.ReadOptions(column_names=positions, use_threads=False, block_size=1 << 28),
            parse_options=pacsv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=skip),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(positions, pa.string()), strings_can_be_null=False
            ),
        )
    if len(table) + len(wrong) != records:  # a quote that is not closed has swallowed the lines behind it
        table, wrong = _parse_line_by_line(text, layout)
    rows = np.setdiff1d(np.arange(records), [row for row, _, _ in wrong], assume_unique=True)
    return table.rename_columns(list(layout.names)), rows, wrong


def _parse_line_by_line(text: str, layout: Layout) -> tuple[Any, _Wrong]:
    rows: list[list[str]] = []
    wrong: _Wrong = []
    for place, line in enumerate(text.split("\n")[:-1]):
        try:
            cells = next(csv.reader([line], delimiter=layout.delimiter, strict=True))
        except csv.Error:
            wrong.append((place, "a quote is not closed", line))
            continue
        if len(cells) == len(layout.names):
            rows.append(cells)
        else:
            wrong.append((place, _width_fault(len(cells), layout), line))
    columns = zip(*rows, strict=True) if rows else ([] for _ in layout.names)
    return pa.Table.from_arrays(
        [pa.array(column, pa.string()) for column in columns], [str(place) for place in range(len(layout.names))]
    ), wrong


def _width_fault(width: int, layout: Layout) -> str:
    return f"{width} columns instead of {len(layout.names)}"
