"""Rows of a scored file as a table asks for them: filtered, sorted, page by page, without the rest leaving the disk."""

from __future__ import annotations

import math
import re
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from netwarden.flows.labels import BENIGN
from netwarden.portal.fields import Blank, Text
from netwarden.portal.paging import Next
from netwarden.portal.uploads.uploads import ROWS, TRUTH, Upload

Positions = npt.NDArray[np.int64]
SORTS = ("row", "score", "verdict", "family", "label", "started_at", "src_ip", "dst_ip", "dst_port", "protocol")
_TEXTS = ("verdict", "family", "src_ip", "dst_ip", "label")
_NUMBERS = ("row", "src_port", "dst_port", "protocol")
TRUE_FAMILY = "true_family"
_DIGITS = 18  # of a number that a column can hold
_INDEX = "table.arrow"
_REMEMBERED = 16  # filters whose rows stay found; 8 MB each at a million rows


_Share = Annotated[float | None, Blank]


class RowQuery(BaseModel):
    """A filter, all of which rows meet, and their order."""

    model_config = ConfigDict(frozen=True)
    show: Literal["all", "alerts", "missed", "mistaken"] = Field(
        "all", description="missed: attacks without an alert; mistaken: alerts on benign flows; both need the truth"
    )
    verdict: Annotated[Literal["benign", "known_attack", "novel"] | None, Blank] = None
    family: Text = Field(None, description="That the detector named")
    label: Text = Field(None, description="Attack name in truth, or benign")
    score_from: _Share = Field(None, ge=0, le=1)
    score_to: _Share = Field(None, ge=0, le=1)
    q: Text = Field(
        None,
        max_length=100,
        description="Part of an address, verdict, family or label; a port; a row (it comes first); `row:17`: it alone",
    )
    sort: Literal[SORTS] = "row"  # type: ignore[valid-type] # a tuple of literals
    down: bool = Field(False, description="The largest first")

    def address(self, path: str, **changes: Any) -> str:
        """The address of a path with this filter, but for changes; None drops a field."""
        facts = self.model_dump(exclude_defaults=True) | changes
        kept = {name: "yes" if value is True else value for name, value in facts.items() if value not in (None, False)}
        return f"{path}?{urlencode(kept)}" if kept else path

    @property
    def narrowed(self) -> bool:
        """Whether anything but the tab narrows it."""
        return bool(self.model_dump(exclude_defaults=True, exclude={"show", "sort", "down"}))


class TableQuery(RowQuery):
    """A page of what a filter finds."""

    page: int = Field(1, ge=1)

    def filter(self) -> RowQuery:
        """The same without its page."""
        return RowQuery(**self.model_dump(exclude={"page"}))


class RowPage(BaseModel):
    """Some rows of a file."""

    model_config = ConfigDict(extra="forbid")
    rows: list[dict[str, Any]] = Field(description="row, verdict, prediction, score, family, endpoints, label if known")
    total: int = Field(description="Rows that meet the filter")
    cursor: Next


def find_rows(upload: Upload, query: RowQuery) -> Positions:
    """Where the rows that meet a filter stand in the file, in the order asked for."""
    return _found(upload.folder, (upload.folder / ROWS).stat().st_mtime_ns, query)


def read_rows(upload: Upload, positions: Positions) -> list[dict[str, Any]]:
    """The rows at some positions, in that order, with their label where the truth is known."""
    found: list[dict[str, Any]] = row_table(upload.folder).take(pa.array(positions)).to_pylist()
    return found


def row_table(folder: Path) -> Any:
    """All scored rows as an Arrow table on the disk, mapped and not read: verdicts, endpoints and labels by code.

    Parquet would have to be decoded for every look at rows that lie apart; this copy is made once.
    """
    path = folder / _INDEX
    if not path.exists():
        _write_index(folder, path)
    with pa.memory_map(str(path)) as file:  # stays mapped for as long as the table lives
        return pa.ipc.open_file(file).read_all()


def forget_table(folder: Path) -> None:
    """Have the table made anew, where something was added to what it is made of."""
    (folder / _INDEX).unlink(missing_ok=True)
    _found.cache_clear()


def _write_index(folder: Path, path: Path) -> None:
    table = pq.read_table(folder / ROWS, read_dictionary=list(_TEXTS))
    if (folder / TRUTH).exists():
        truth = pq.read_table(folder / TRUTH, columns=["label", "family"], read_dictionary=["label", "family"])
        table = table.append_column("label", truth.column("label")).append_column(TRUE_FAMILY, truth.column("family"))
    table = table.unify_dictionaries().combine_chunks()
    draft = folder / f"{_INDEX}.{secrets.token_hex(4)}"
    with pa.OSFile(str(draft), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    draft.replace(path)


@lru_cache(maxsize=_REMEMBERED)
def _found(folder: Path, _stamp: int, query: RowQuery) -> Positions:
    table = row_table(folder)
    mask = _mask(table, query)
    positions = np.flatnonzero(mask) if mask is not None else np.arange(table.num_rows)
    if query.sort != "row" and query.sort in table.column_names:
        keys = _keys(table.column(query.sort))[positions]
        positions = positions[np.argsort(-keys if query.down else keys, kind="stable")]
    elif query.down:
        positions = positions[::-1]
    if query.q:
        positions = positions[np.argsort(_farness(table, query)[positions], kind="stable")]
    positions.flags.writeable = False
    return positions


def _mask(table: Any, query: RowQuery) -> npt.NDArray[np.bool_] | None:
    masks: list[npt.NDArray[np.bool_]] = []
    for name, value in (("verdict", query.verdict), ("family", query.family), ("label", query.label)):
        if value is not None:
            masks.append(_where(table, name, lambda texts, value=value: pc.equal(texts, value)))
    if query.show != "all":
        benign = _where(table, "verdict", lambda texts: pc.equal(texts, BENIGN))
        masks.append(benign if query.show == "missed" else ~benign)
    if query.show == "missed":
        masks.append(_where(table, "label", lambda texts: pc.not_equal(texts, BENIGN)))
    if query.show == "mistaken":
        masks.append(_where(table, "label", lambda texts: pc.equal(texts, BENIGN)))
    if query.score_from is not None:
        masks.append(table.column("score").to_numpy() >= query.score_from)
    if query.score_to is not None:
        masks.append(table.column("score").to_numpy() <= query.score_to)
    if query.q:
        masks.append(_search(table, query.q.strip()))
    return np.logical_and.reduce(masks) if masks else None


def _search(table: Any, text: str) -> npt.NDArray[np.bool_]:
    row = re.fullmatch(r"row:\s*(\d{1,18})", text)
    if row:
        return np.asarray(table.column("row").to_numpy() == int(row[1]))
    found = np.zeros(table.num_rows, dtype=bool)
    for name in _TEXTS:
        found |= _where(table, name, lambda texts: pc.match_substring(texts, text, ignore_case=True))
    for name in _NUMBERS if text.isdecimal() else ():
        found |= _equal(table, name, text)
    return found


def _farness(table: Any, query: RowQuery) -> npt.NDArray[np.int8]:
    """Of each row: 0 where its number was asked for, 1 where a value is all that was, 2 where it is part of one.

    An order that somebody chose is only left for a row asked for by its number.
    """
    text = (query.q or "").strip()
    far = np.full(table.num_rows, 2, dtype=np.int8)
    if query.sort == "row" and not query.down:
        for name in _TEXTS:
            far[_where(table, name, lambda texts: pc.equal(pc.utf8_lower(texts), text.lower()))] = 1
        for name in _NUMBERS if text.isdecimal() else ():
            far[_equal(table, name, text)] = 1
    if text.isdecimal():
        far[_equal(table, "row", text)] = 0
    return far


def _equal(table: Any, name: str, number: str) -> npt.NDArray[np.bool_]:
    """Rows whose number it is; none where there is no such column, or no such number."""
    if name not in table.column_names or len(number) > _DIGITS:
        return np.zeros(table.num_rows, dtype=bool)
    values = pc.equal(table.column(name).cast(pa.int64()), int(number))
    return np.asarray(pc.fill_null(values, False).to_numpy().astype(bool))


def _where(table: Any, name: str, test: Any) -> npt.NDArray[np.bool_]:
    """Rows whose text passes a test, which sees each different text once; none where there is no such column."""
    if name not in table.column_names:
        return np.zeros(table.num_rows, dtype=bool)
    codes, texts = _encoded(table.column(name))
    passes = np.append(pc.fill_null(test(texts), False).to_numpy(zero_copy_only=False).astype(bool), False)
    return np.asarray(passes[codes])


def _encoded(column: Any) -> tuple[npt.NDArray[np.int64], Any]:
    """Code of each row, the last place for missing ones, and the texts."""
    whole = column.unify_dictionaries().combine_chunks()
    whole = whole if hasattr(whole, "dictionary") else whole.dictionary_encode()
    texts = whole.dictionary.cast(pa.string())
    return pc.fill_null(whole.indices.cast(pa.int64()), len(texts)).to_numpy(zero_copy_only=False), texts


def _keys(column: Any) -> npt.NDArray[Any]:
    """Numbers that sort as a column does; what is missing comes first."""
    if pa.types.is_dictionary(column.type):
        codes, texts = _encoded(column)
        ranks = np.full(len(texts) + 1, -1)
        ranks[pc.sort_indices(texts).to_numpy()] = np.arange(len(texts))
        return np.asarray(ranks[codes])
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return np.asarray(pc.fill_null(column.cast(pa.float64()), -math.inf).to_numpy())
