"""What the columns of an unknown file hold, from one pass over it in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from netwarden.errors import InputError
from netwarden.flows.schema import fold_name
from netwarden.sources.delimited import read_blocks
from netwarden.sources.text_layout import read_layout

# Texts that may mean "no value". The first ones always do; others only where a column's other values are numbers.
ALWAYS_MISSING = ("", "NaN", "nan", "null", "NULL")
PERHAPS_MISSING = ("-", "?", "NA", "N/A", "n/a", "None", "none", "(empty)", "\\N")
MAX_DISTINCT = 1024  # as many categories as a preprocessor keeps

_BLOCK_ROWS = 16_384
_SAMPLE = 2_000
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NOT_FINITE = r"^[+-]?(?i:inf|infinity|nan)$"
_WHOLE = r"^[+-]?\d+$"
_ADDRESS = r"^(\d{1,3}(\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){2,7})$"
_HARDWARE_ADDRESS = r"^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$"


@dataclass
class ColumnProfile:
    """Counts over all rows of one column. `distinct` stops growing beyond MAX_DISTINCT; `sample` is of its start."""

    name: str
    rows: int = 0
    missing: Counter[str] = field(default_factory=Counter)  # by the text that may mean it
    numbers: int = 0
    whole: int = 0
    not_finite: int = 0
    addresses: int = 0
    hardware_addresses: int = 0
    lowest: float | None = None
    highest: float | None = None
    steps_of_one: bool = True
    distinct: Counter[str] = field(default_factory=Counter)
    overflowing: bool = False
    sample: list[str] = field(default_factory=list)
    _last: float | None = None

    @property
    def present(self) -> int:
        """Rows with a value, whatever a perhaps-missing text means."""
        return self.rows - sum(self.missing.values())

    @property
    def numeric(self) -> bool:
        """Whether nearly all values are numbers; the few others would be quarantined."""
        return self.numbers + self.not_finite >= 0.99 * max(self.present, 1) and self.numbers > 0

    def add(self, text: Any) -> None:
        """Take in one block of trimmed text without nulls."""
        self.rows += len(text)
        absent = pc.is_in(text, value_set=pa.array([*ALWAYS_MISSING, *PERHAPS_MISSING]))
        for item in pc.value_counts(text.filter(absent)).to_pylist():
            self.missing[item["values"]] += item["counts"]
        values = text.filter(pc.invert(absent))
        self.sample += values.slice(0, _SAMPLE - len(self.sample)).to_pylist()
        self._count_distinct(values)
        self.not_finite += _matching(values, _NOT_FINITE)
        self._add_numbers(values.filter(pc.match_substring_regex(values, _NUMBER)))
        if self.numbers == 0:
            self.addresses += _matching(values, _ADDRESS)
            self.hardware_addresses += _matching(values, _HARDWARE_ADDRESS)

    def _count_distinct(self, values: Any) -> None:
        if not self.overflowing:
            for item in pc.value_counts(values).to_pylist():
                self.distinct[item["values"]] += item["counts"]
            self.overflowing = len(self.distinct) > MAX_DISTINCT

    def _add_numbers(self, values: Any) -> None:
        if not len(values):
            return
        self.numbers += len(values)
        self.whole += _matching(values, _WHOLE)
        numbers = values.cast(pa.float64())
        extremes = pc.min_max(numbers).as_py()
        self.lowest = extremes["min"] if self.lowest is None else min(self.lowest, extremes["min"])
        self.highest = extremes["max"] if self.highest is None else max(self.highest, extremes["max"])
        if self.steps_of_one:
            steps = pc.pairwise_diff(numbers).drop_null()
            joins = self._last is None or numbers[0].as_py() == self._last + 1
            self.steps_of_one = joins and pc.all(pc.equal(steps, 1.0)).as_py() is not False
            self._last = numbers[-1].as_py()


def profile_columns(path: Path) -> list[ColumnProfile]:
    """Profile of every column, in file order; of columns with the same name, only the first counts.

    Raises InputError for a file without rows.
    """
    profiles: dict[str, ColumnProfile] = {}
    for table in text_tables(path):
        for name in dict.fromkeys(table.column_names):
            key = fold_name(name)
            if profiles.setdefault(key, ColumnProfile(name.strip())).name == name.strip():
                profiles[key].add(_trimmed(table, name))
    if not any(profile.rows for profile in profiles.values()):
        raise InputError(f"{path.name} holds no rows to draft a schema from")
    return list(profiles.values())


def telling_shares(path: Path, columns: list[str], label: str) -> dict[str, tuple[float, float]]:
    """Per column, the share of rows whose label its value tells, and whose value the label tells, by majority each."""
    pairs: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in columns}
    for table in text_tables(path):
        truth = _trimmed(table, label)
        for name in columns:
            both = pa.table({"value": _trimmed(table, name), "label": truth}).group_by(["value", "label"])
            for item in both.aggregate([([], "count_all")]).to_pylist():
                pairs[name][(item["value"], item["label"])] += item["count_all"]
    return {name: (_told(counts, 0), _told(counts, 1)) for name, counts in pairs.items()}


def text_tables(path: Path) -> Iterator[Any]:
    """The file's rows as tables of text, in bounded memory; malformed lines are left out."""
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            for batch in pq.ParquetFile(path).iter_batches(_BLOCK_ROWS):
                yield _as_text(pa.Table.from_batches([batch]))
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path.name} is not a Parquet file of plain columns: {error}") from None
    else:
        for block in read_blocks(path, read_layout(path), _BLOCK_ROWS):
            yield block.table


def _as_text(table: Any) -> Any:
    """Every column cast as `conform` would read it."""
    columns = []
    for column in table.columns:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)  # noqa: PLW2901 - the same column, unpacked
        columns.append(column.cast(pa.int8() if pa.types.is_boolean(column.type) else column.type).cast(pa.string()))
    return pa.table(columns, names=table.column_names)


def _trimmed(table: Any, name: str) -> Any:
    names = [each.strip() for each in table.column_names]
    column = table.column(names.index(name.strip())).combine_chunks()
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))


def _matching(values: Any, regex: str) -> int:
    return int(pc.sum(pc.match_substring_regex(values, regex)).as_py() or 0)


def _told(counts: Counter[tuple[str, str]], by: int) -> float:
    best: Counter[str] = Counter()
    for pair, rows in counts.items():
        best[pair[by]] = max(best[pair[by]], rows)
    return sum(best.values()) / max(sum(counts.values()), 1)
