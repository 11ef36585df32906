"""Text files of flows (CSV, Zeek logs, JSON lines; plain or gzip) to tables of text, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FileFormat, FlowSchema, fold_name
from netwarden.sources.json_lines import SAMPLE_LINES, field_names, is_json, parse_records

_CHUNK_BYTES = 1 << 20
_LONGEST_LINE_BYTES = 1 << 24
_ZEEK = "#separator"
_LINE_END = re.compile("\r+\n")
_ZEEK_GAP = "   "  # IoT-23 sets its label columns apart by three blanks instead of a tab
_SAMPLE_LINES = 50


@dataclass(frozen=True)
class Layout:
    """How one file is written: its columns, and how to cut lines into them."""

    names: tuple[str, ...]
    delimiter: str = ","
    comment: str = ""
    encoding: str = "utf-8"
    header: str = ""  # the header line where there is one: it may come again mid-file
    zeek: bool = False
    json: bool = False
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # JSON: which records are flows

    @property
    def gap(self) -> bool:
        return self.zeek and _ZEEK_GAP in self.header


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


def read_layout(path: Path, schema: FlowSchema | None = None) -> Layout:
    """How a file is written, from its first lines and what the schema says.

    The first line is a header where it holds column names of the schema. Raises InputError for an empty file and
    SchemaError for a file without a header whose width is not the schema's.
    """
    form = schema.file if schema else FileFormat()
    return _layout(path, _sample(path, form.encoding), schema, form)


def layout_of_start(address: str, start: bytes, schema: FlowSchema) -> Layout:
    """The same of a file that lies elsewhere, from its first bytes, decompressed. Not for JSON."""
    path = Path(address)  # for its name: nothing opens it
    sample = _first_lines(path, start, schema.file.encoding, _SAMPLE_LINES)
    if is_json(sample[0]):
        raise InputError(f"{path.name} holds JSON lines, which the local engine reads, and Spark does not")
    return _layout(path, sample, schema, schema.file)


def _layout(path: Path, sample: list[str], schema: FlowSchema | None, form: FileFormat) -> Layout:
    if sample[0].startswith(_ZEEK):
        return _zeek_layout(path, sample, form.encoding)
    if is_json(sample[0]):
        names = field_names(_sample(path, form.encoding, SAMPLE_LINES), schema, path.name)
        return Layout(names, encoding=form.encoding, json=True, only=form.only)
    lines = [line for line in sample if line.strip() and not (form.comment and line.startswith(form.comment))]
    if not lines:
        raise InputError(f"{path.name} is empty")
    delimiter = _delimiter(lines, form.delimiter)
    cells = split_line(lines[0], delimiter)
    if schema is not None and not _is_header(cells, schema):
        return Layout(_names_by_width(path, len(cells), schema), delimiter, form.comment, form.encoding)
    if schema is None and not _looks_like_header([split_line(line, delimiter) for line in lines[:20]]):
        names = tuple(f"column_{number}" for number in range(1, len(cells) + 1))
        return Layout(names, delimiter, form.comment, form.encoding)
    return Layout(tuple(cells), delimiter, form.comment, form.encoding, lines[0])


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
    text, places, _ = _records_only(_decoded(data, layout.encoding), lines, layout, False)
    table, rows, wrong = _parse(text, layout)
    return table, places[rows], [(int(places[row]), reason, line) for row, reason, line in wrong]


def sniff_format(path: Path) -> FileFormat:
    """Best guess of header, delimiter, encoding and comment mark from a file's first lines."""
    layout = read_layout(path)
    if layout.zeek:
        return FileFormat(delimiter="\t", comment="#", missing=("", "-", "(empty)"), encoding=_encoding(path))
    return FileFormat(header=bool(layout.header), delimiter=layout.delimiter, encoding=_encoding(path))


def split_line(line: str, delimiter: str) -> list[str]:
    """Cells of one line, quotes removed. Raises InputError where a cell is longer than any table's."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error as error:
        raise InputError(f"a line of {len(line):,} characters, {line[:20]!r}…, is no row of a table: {error}") from None


@contextmanager
def open_text(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Decompressed bytes of a file, and the file itself, whose position tells how much was read."""
    try:
        with path.open("rb") as raw:
            if raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.open(raw) as plain:
                    yield plain, raw  # type: ignore[misc]  # GzipFile reads bytes like any other
            else:
                raw.seek(0)
                yield raw, raw
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


# --- layout -----------------------------------------------------------------------------------------------------


def _sample(path: Path, encoding: str, most: int = _SAMPLE_LINES) -> list[str]:
    with open_text(path) as (stream, _):
        try:
            start = stream.read(_CHUNK_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path.name} is damaged: {error}") from None
    return _first_lines(path, start, encoding, most)


def _first_lines(path: Path, start: bytes, encoding: str, most: int) -> list[str]:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path.name} is UTF-16; save it as UTF-8")
    if b"\x00" in start:
        raise InputError(f"{path.name} is not text; flows are read from CSV, Zeek logs, Parquet and Arrow files")
    if b"\r" in start and b"\n" not in start:
        raise InputError(f"{path.name} ends its lines with carriage returns only; save it with line feeds")
    lines = _decoded(start, encoding).removeprefix("\ufeff").split("\n", most)[:most]
    if not start:
        raise InputError(f"{path.name} is empty")
    return [line.rstrip("\r") for line in lines]


def _encoding(path: Path) -> str:
    with open_text(path) as (stream, _):
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                (chunk + stream.readline()).decode("utf-8")
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _decoded(data: bytes, encoding: str) -> str:
    """Text of bytes: UTF-8 where they are, else the encoding the schema names, else Windows' Western one."""
    for candidate in dict.fromkeys(("utf-8", encoding)):
        try:
            return data.decode(candidate)
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", errors="replace")


def _zeek_layout(path: Path, sample: list[str], encoding: str) -> Layout:
    fields = next((line for line in sample if line.startswith("#fields")), None)
    if fields is None:
        raise InputError(f"{path.name} begins like a Zeek log but has no #fields line")
    cells = fields.replace(_ZEEK_GAP, "\t").split("\t")[1:]
    return Layout(tuple(cells), "\t", "#", encoding, fields, zeek=True)


def _delimiter(lines: list[str], expected: str) -> str:
    """The expected delimiter where it occurs, else the one that cuts most lines alike."""
    if expected in lines[0]:
        return expected
    counts = {mark: lines[0].count(mark) for mark in ",;\t|" if lines[0].count(mark) == lines[-1].count(mark)}
    best = max(counts, key=lambda mark: counts[mark], default=expected)
    return best if counts.get(best) else expected


def _is_header(cells: list[str], schema: FlowSchema) -> bool:
    """Whether a first line names columns. Where the schema says files have headers, an unknown line is one too."""
    matched = len(match_columns(cells, schema))
    return matched * 2 >= min(len(cells), len(schema.features)) or (schema.file.header and not _has_number(cells))


def _names_by_width(path: Path, width: int, schema: FlowSchema) -> tuple[str, ...]:
    """Names of a file without a header: the schema's columns in order; what follows the last feature may be absent."""
    names = [column.name for column in schema.columns]
    shortest = len(names)
    while shortest and schema.columns[shortest - 1].role != "feature":
        shortest -= 1
    if not shortest <= width <= len(names):
        raise SchemaError(
            f"{path.name} has {width} columns, where schema {schema.id}, whose files have no header line, has "
            f"{len(names)}; is this file in another schema?"
        )
    return tuple(names[:width])


def _looks_like_header(rows: list[list[str]]) -> bool:
    """Without a schema: a first line of distinct words, none of them a number."""
    first = [cell.strip() for cell in rows[0]]
    return not _has_number(first) and all(first) and len({fold_name(cell) for cell in first}) > len(first) // 2


def _has_number(cells: list[str]) -> bool:
    return any(_is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# --- blocks -----------------------------------------------------------------------------------------------------


def _line_blocks(path: Path, encoding: str, block_rows: int, after_line: int) -> Iterator[tuple[str, int, float]]:
    """Whole lines behind a line as text, how many, and the share of the file read so far."""
    size = max(path.stat().st_size, 1)
    done = taken = read = 0  # lines and bytes dealt with, bytes read, all after decompression
    with open_text(path) as (stream, raw):
        rest, ahead = b"", b""
        while True:
            try:
                chunk, ahead = ahead or stream.read(_CHUNK_BYTES), stream.read(_CHUNK_BYTES)
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
                yield _decoded(block, encoding), last - first + 1, position
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
        text = text.replace(_ZEEK_GAP, "\t")
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
