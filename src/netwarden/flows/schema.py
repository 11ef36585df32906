"""A dataset is a YAML file: columns, types, units, ranges, labels and how to split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from netwarden.errors import SchemaError

ColumnType = Literal["int", "float", "string", "ip", "time"]
Role = Literal["feature", "identifier", "time", "label", "leak"]

# Columns that Netwarden adds to every stored flow table; no schema may use these names.
ROW_ID, LABEL, FAMILY, SPLIT, SOURCE_FILE, SOURCE_LINE = (
    "row_id",
    "label",
    "family",
    "split",
    "source_file",
    "source_line",
)
RESERVED = (ROW_ID, LABEL, FAMILY, SPLIT, SOURCE_FILE, SOURCE_LINE)

METER_VERSION = "meter_version"  # column of flows that our meter made: its version

# Factor from the first unit to the second.
_FACTORS = {
    ("s", "us"): 1e6,
    ("ms", "us"): 1e3,
    ("ns", "us"): 1e-3,
    ("us", "s"): 1e-6,
    ("ms", "s"): 1e-3,
    ("kB", "bytes"): 1e3,
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Alias(_Frozen):
    """Another spelling of a column, and its unit there if it differs."""

    name: str
    unit: str = ""


def _as_aliases(value: Any) -> Any:
    return [{"name": item} if isinstance(item, str) else item for item in value or []]


class TimePattern(_Frozen):
    """One way a time is written; zone and clock where they differ from the column's."""

    format: str
    zone: str = ""
    pm_before: int | None = Field(None, ge=0, le=12)


def _as_patterns(value: Any) -> Any:
    return [{"format": item} if isinstance(item, str) else item for item in value or []]


class TimeFormat(_Frozen):
    """How a time column is written.

    `formats` are tried in order: strptime patterns, `iso`, `epoch_s`, `epoch_ms` or `epoch_us`. `zone` applies where
    the text names none (IANA name or ±HH:MM). `pm_before`: hours below it are afternoon, for 12-hour clocks written
    without AM/PM. A format may have a zone and a `pm_before` of its own.
    """

    formats: Annotated[tuple[TimePattern, ...], BeforeValidator(_as_patterns)]
    zone: str = "UTC"
    pm_before: int = Field(0, ge=0, le=12)

    @property
    def patterns(self) -> tuple[TimePattern, ...]:
        """The formats, each with the zone and clock that apply to it."""
        return tuple(
            TimePattern(
                format=pattern.format,
                zone=pattern.zone or self.zone,
                pm_before=self.pm_before if pattern.pm_before is None else pattern.pm_before,
            )
            for pattern in self.formats
        )


class Column(_Frozen):
    """One column: what it is called, what it holds and what may be done with it."""

    name: str
    type: ColumnType
    role: Role = "feature"
    unit: str = ""
    meaning: str = ""
    aliases: Annotated[tuple[Alias, ...], BeforeValidator(_as_aliases)] = ()
    range: tuple[float | None, float | None] = (None, None)
    categories: tuple[str, ...] = ()
    open: bool = Field(False, description="Categories seen in training are learned; new ones are mapped and counted")
    missing: Literal["keep", "refuse", "expected"] = Field(
        "keep", description="expected: absent by nature (no TCP, no answer), which is no fault of the data"
    )
    infinite: Literal["missing", "refuse"] = "missing"
    out_of_range: Literal["refuse", "missing"] = "refuse"
    sentinels: tuple[float, ...] = Field((), description="Values that mean: not observed; stored as missing")
    optional: bool = Field(False, description="A file without this column is still of this schema (never a feature)")
    stable: bool = Field(True, description="Same in every build of the tool that makes it")
    same_as: str = Field("", description="Name under which other schemas have what this measures; empty: its own")
    time: TimeFormat | None = None

    @property
    def categorical(self) -> bool:
        return self.type in ("string", "ip") and self.role == "feature"

    def factor(self, alias_unit: str) -> float:
        """Multiplier that turns values in an alias's unit into this column's unit."""
        if alias_unit in ("", self.unit):
            return 1.0
        try:
            return _FACTORS[(alias_unit, self.unit)]
        except KeyError:
            raise SchemaError(f"column {self.name!r}: no conversion from {alias_unit!r} to {self.unit!r}") from None


class LabelRule(_Frozen):
    """How truth is written in this dataset.

    `binary`: only benign or attack is known, so the family head stays off. `families` adds attack names that
    schema/families.yaml does not know.
    """

    benign: tuple[str, ...] = ()
    binary: bool = False
    attack: tuple[str, ...] = Field((), description="Spellings that mean attack, where binary")
    families: dict[str, str] = Field(default_factory=dict)
    unknown: Literal["refuse", "other"] = Field("refuse", description="other: keep it as family `other`")


class SplitPolicy(_Frozen):
    """Which rows test.

    `official`: a file-name pattern per split. `time`: the last share of the time span, by the time column.
    `grouped_random`: a seeded draw in which rows of equal content stay on one side. With `own`, the splits that a
    dataset's folder declares (dataset.yaml) come before the policy.

    `together`: rows that agree in these columns and in family, and start in one slice of `together_s`, stay on one side
    of every draw; without it, rows of equal features do.
    """

    policy: Literal["official", "time", "grouped_random"] = "grouped_random"
    files: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="split → file name patterns (fnmatch)")
    own: bool = False
    together: tuple[str, ...] = ()
    together_s: float = Field(10.0, gt=0)

    def by_file(self, splits: Iterable[str]) -> bool:
        """Whether the files of a dataset say what tests, rather than a draw; `splits` are those that its rows have."""
        return self.policy == "official" or (self.own and any(splits))


class Subset(_Frozen):
    """Test rows that are also measured apart: those whose column does not hold a value."""

    column: str
    not_equal: str | int | float


class FileFormat(_Frozen):
    """How the dataset's files are written, where CSV defaults do not fit."""

    header: bool = True
    delimiter: str = ","
    encoding: str = "utf-8"
    comment: str = ""
    only: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="JSON lines: field → values of records that are flows; others are counted"
    )
    missing: tuple[str, ...] = ("", "NaN", "nan", "null", "NULL", "-")


class Origin(_Frozen):
    """Where a dataset comes from."""

    url: str = ""
    licence: str = ""
    citation: str = ""


class FlowSchema(_Frozen):
    """One kind of flow table. Build with `load_schema`."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    origin: Origin = Origin()
    file: FileFormat = FileFormat()
    columns: tuple[Column, ...]
    ignore: tuple[str, ...] = Field((), description="File columns known and dropped on purpose")
    foreign: tuple[str, ...] = Field((), description="Columns that show a file to be of another schema of like names")
    label: LabelRule = LabelRule()
    split: SplitPolicy = SplitPolicy()
    subsets: dict[str, Subset] = Field(default_factory=dict, description="Parts of the test rows, measured apart too")
    duplicates: Literal["drop", "keep"] = "drop"
    examples: tuple[dict[str, float | str], ...] = Field(
        (), description="Made-up rows to try a detector with; features that a row does not name are 0"
    )
    faults: dict[str, int] = Field(default_factory=dict, description="Known faults and their number; only more fails")
    meter_mode: str = Field("", description="Flow meter mode of the files, where a meter of ours can make such flows")
    trains_on: Literal["all", "stable"] = Field(
        "all", description="Features that detectors use by default; stable: same in every build"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> FlowSchema:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        taken = sorted(set(names) & set(RESERVED))
        if twice or taken:
            raise ValueError(f"columns named twice {twice}, or with reserved names {taken}")
        if sum(column.role == "label" for column in self.columns) > 1:
            raise ValueError("more than one column has the role label")
        strange = sorted({name for row in self.examples for name in row} - {column.name for column in self.features})
        if strange:
            raise ValueError(f"examples name {strange}, which are no features")
        return self

    @cached_property
    def spellings(self) -> dict[str, tuple[Column, str]]:
        """Every folded name a file may use → the column and its unit there; a column's own name beats an alias."""
        known = {fold_name(alias.name): (column, alias.unit) for column in self.columns for alias in column.aliases}
        return known | {fold_name(column.name): (column, "") for column in self.columns}

    @property
    def features(self) -> tuple[Column, ...]:
        """Columns a detector may use, in schema order: the order of a `.npy` upload."""
        return self._with_role("feature")

    def trainable(self, which: str = "", leave_out: Sequence[str] = ()) -> tuple[Column, ...]:
        """The features that a detector is to use: `all`, `stable`, or what the schema says by default.

        `leave_out`: patterns (fnmatch) of names that it is not to use all the same. Raises SchemaError where they
        leave none.
        """
        stable_only = (which or self.trains_on) == "stable"
        kept = tuple(
            column
            for column in self.features
            if (column.stable or not stable_only) and not any(fnmatchcase(column.name, each) for each in leave_out)
        )
        if not kept:
            named = ", ".join(leave_out) or "nothing"
            raise SchemaError(f"{self.id} has no feature to train on once transform.leave_out ({named}) is left out")
        return kept

    @property
    def label_column(self) -> Column | None:
        return next(iter(self._with_role("label")), None)

    @property
    def time_column(self) -> Column | None:
        return next(iter(self._with_role("time")), None)

    @property
    def stored(self) -> tuple[Column, ...]:
        """Columns the store keeps as they are: all but the label, which becomes `label` and `family`."""
        return tuple(column for column in self.columns if column.role != "label")

    def column(self, name: str) -> Column:
        """Column of a canonical name. Raises SchemaError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise SchemaError(f"schema {self.id} has no column {name!r}")

    def contract_hash(self) -> str:
        """Hash of what a bundle depends on: feature names, types, units and categories, in order."""
        facts = [(c.name, c.type, c.unit, c.categories, c.open) for c in self.features]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _with_role(self, role: Role) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == role)


def fold_name(name: str) -> str:
    """Column name without case and surrounding blanks; underscores and blanks stay apart.

    `flow_duration` (Python's cicflowmeter, seconds) and `Flow Duration` (Java's, microseconds) are not the same column.
    """
    return " ".join(name.lstrip("\ufeff").split()).casefold()


def load_schema(name: str, folder: Path) -> FlowSchema:
    """Schema by id (`folder/ID.yaml`) or by path.

    Raises SchemaError that names the file, the key and what is known instead.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.exists():
        raise SchemaError(
            f"no schema {name!r}: {path} does not exist; known: {', '.join(schema_ids(folder)) or 'none'}"
        )
    return _load(path.resolve(), path.stat().st_mtime_ns)


def schema_ids(folder: Path) -> list[str]:
    """Ids of the schemas in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "families")


@lru_cache(maxsize=32)
def _load(path: Path, _stamp: int) -> FlowSchema:
    try:
        return FlowSchema.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SchemaError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        raise SchemaError(f"{path}: {_faults(error.errors(include_url=False, include_input=False))}") from None


def _faults(errors: Iterable[Any]) -> str:
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in errors)
