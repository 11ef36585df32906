"""How a text file of flows is written: its columns, delimiter, comments and encoding, told from its beginning."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from netwarden.errors import InputError, SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FileFormat, FlowSchema, fold_name
from netwarden.sources.json_lines import SAMPLE_LINES, field_names, is_json

ZEEK_GAP = "   "  # IoT-23 sets its label columns apart by three blanks instead of a tab
CHUNK_BYTES = 1 << 20
_ZEEK = "#separator"
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
        return self.zeek and ZEEK_GAP in self.header


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


def _sample(path: Path, encoding: str, most: int = _SAMPLE_LINES) -> list[str]:
    with open_text(path) as (stream, _):
        try:
            start = stream.read(CHUNK_BYTES)
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
    lines = decoded(start, encoding).removeprefix("\ufeff").split("\n", most)[:most]
    if not start:
        raise InputError(f"{path.name} is empty")
    return [line.rstrip("\r") for line in lines]


def _encoding(path: Path) -> str:
    with open_text(path) as (stream, _):
        try:
            while chunk := stream.read(CHUNK_BYTES):
                (chunk + stream.readline()).decode("utf-8")
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def decoded(data: bytes, encoding: str) -> str:
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
    cells = fields.replace(ZEEK_GAP, "\t").split("\t")[1:]
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
