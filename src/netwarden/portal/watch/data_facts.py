"""What the flow store holds: datasets with their labels, what was kept out and why, and what schemas say."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from contextlib import closing
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import InputError, NetwardenError
from netwarden.flows.labels import Families
from netwarden.flows.schema import LABEL, SPLIT, Column, FlowSchema
from netwarden.logs import get
from netwarden.portal.paging import Next, after, page_of
from netwarden.settings import Settings
from netwarden.sources.connect import open_flow_store
from netwarden.sources.store import DatasetSummary, RejectedRow

_REASONS_OF = 2000  # quarantined rows that reasons are counted of
_PATIENCE_S = 0.2  # what a page waits for a table before it says that it is being counted
_BREATH_S = 0.005  # between two batches that are counted, so that pages go on
_log = get(__name__)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DatasetView(_Answer):
    """A dataset of the store."""

    name: str
    schema_id: str
    rows: int
    splits: dict[str, int] = Field(description="Rows by split; the days of a recording are splits")
    labels: dict[str, int] = Field(description="Rows by attack name; empty: it came without truth")
    quarantined: int
    content_hash: str


class LabelTable(_Answer):
    """Rows of each label in each split. `counting`: not finished yet; ask again."""

    state: Literal["counting", "done", "failed"]
    detail: str = ""
    counts: dict[str, dict[str, int]] = Field(description="Attack name → split → rows")


class Rejected(_Answer):
    """A row that was kept out, and why."""

    file: str
    line: int
    reason: str
    text: str


class Quarantine(_Answer):
    """A page of rows that were kept out, in order of file and line."""

    rows: list[Rejected]
    cursor: Next


class QualityCheck(_Answer):
    """One check of the data that the pipeline made last."""

    name: str
    found: int
    allowed: int | None
    what: str
    rows: list[str] = Field(description="First rows concerned, as file:line")
    passed: bool
    warns: bool


class Quality(_Answer):
    """What the pipeline's stage `validate` found last."""

    rows: int
    schema_id: str
    checks: list[QualityCheck]


class SchemaColumn(_Answer):
    """A column of a kind of flow table."""

    name: str
    type: str
    role: str
    unit: str
    meaning: str
    lowest: float | None
    highest: float | None
    categories: list[str]
    aliases: list[str]


class SchemaView(_Answer):
    """A kind of flow table."""

    id: str
    title: str
    columns: list[SchemaColumn]
    features: int


class LabelTables:
    """Rows by label and split, counted in the background once for each content of a dataset."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, str], LabelTable] = {}
        self._lock = threading.Lock()
        self._counted_one = threading.Condition(self._lock)
        self._stop = threading.Event()

    def of(self, dataset: DatasetView) -> LabelTable:
        """The table of a dataset as it is now; the first to ask has it counted, and waits a moment for it."""
        key = (dataset.name, dataset.content_hash)
        with self._lock:
            if key not in self._known:
                self._known = {other: table for other, table in self._known.items() if other[0] != dataset.name}
                self._known[key] = LabelTable(state="counting", counts={})
                threading.Thread(target=self._count, args=(key,), name="labels", daemon=True).start()
                self._counted_one.wait(_PATIENCE_S)
            return self._known[key]

    def close(self) -> None:
        """Stop counting."""
        self._stop.set()

    def _count(self, key: tuple[str, str]) -> None:
        try:
            table = LabelTable(state="done", counts=self._counted(key[0]))
        except NetwardenError as error:
            _log.warning("labels cannot be counted", extra={"dataset": key[0], "error": str(error)})
            table = LabelTable(state="failed", detail=str(error), counts={})
        with self._counted_one:
            self._known[key] = table
            self._counted_one.notify_all()

    def _counted(self, name: str) -> dict[str, dict[str, int]]:
        found: Counter[tuple[str, str]] = Counter()
        with closing(open_flow_store(self._settings)) as store:
            for table in store.scan(name):
                if self._stop.wait(_BREATH_S) or LABEL not in table.column_names:
                    break
                found.update(_by_label_and_split(table))
        counts: dict[str, dict[str, int]] = {}
        for (label, split), rows in sorted(found.items()):
            counts.setdefault(label, {})[split] = rows
        return dict(sorted(counts.items(), key=lambda item: -sum(item[1].values())))


def datasets(settings: Settings, limit: int, cursor: str) -> tuple[list[DatasetView], str | None]:
    """A page of those of the store, by name, and the cursor of the next. Raises InputError for one of no page."""
    with closing(open_flow_store(settings)) as store:
        names = sorted(store.datasets())
        shown, following = page_of(names[after(cursor, names) :], limit, lambda name: name)
        return [_view(store.summary(name)) for name in shown], following


def dataset(settings: Settings, name: str) -> DatasetView:
    """One of them. Raises NotFoundError."""
    with closing(open_flow_store(settings)) as store:
        return _view(store.summary(name))


def quarantine(settings: Settings, name: str, limit: int, cursor: str) -> Quarantine:
    """A page of a dataset's quarantine. Raises NotFoundError, or InputError for a cursor that is none of ours."""
    with closing(open_flow_store(settings)) as store:
        store.summary(name)
        found = store.quarantined(name, limit + 1, _place(cursor))
    shown, following = page_of(found, limit, lambda row: f"{row.line}:{row.file}")
    return Quarantine(rows=[Rejected(**vars(row)) for row in shown], cursor=following)


def reasons(settings: Settings, name: str) -> list[tuple[str, int]]:
    """The most frequent reasons in a dataset's quarantine, with what differs from row to row left out."""
    with closing(open_flow_store(settings)) as store:
        found = store.quarantined(name, _REASONS_OF)
    return Counter(_kind(row) for row in found).most_common(6)


def quality(settings: Settings) -> Quality | None:
    """What the pipeline found of its data last; None: it has not run here."""
    path = settings.pipeline_dir / "validate" / "report.json"
    if not path.exists():
        return None
    report: dict[str, Any] = json.loads(path.read_bytes())
    return Quality(rows=report["rows"], schema_id=report["schema"], checks=report["checks"])


def schema_view(schema: FlowSchema) -> SchemaView:
    """What a schema says of its columns."""
    return SchemaView(
        id=schema.id,
        title=schema.title or schema.id,
        columns=[_column(column) for column in schema.columns],
        features=len(schema.features),
    )


def family_of(families: Families, label: str) -> str:
    """The family of an attack name, `other` where no table knows it."""
    try:
        return families.family(label)
    except NetwardenError:
        return "other"


def _view(summary: DatasetSummary) -> DatasetView:
    return DatasetView(
        name=summary.dataset,
        schema_id=summary.schema_id,
        rows=sum(summary.rows.values()),
        splits=summary.rows,
        labels=dict(sorted(summary.labels.items(), key=lambda item: (-item[1], item[0]))),
        quarantined=summary.quarantined,
        content_hash=summary.content_hash,
    )


def _by_label_and_split(table: Any) -> dict[tuple[str, str], int]:
    keys = [LABEL, SPLIT] if SPLIT in table.column_names else [LABEL]
    grouped = table.select(keys).group_by(keys).aggregate([([], "count_all")]).to_pylist()
    return {(row[LABEL] or "", row.get(SPLIT) or ""): row["count_all"] for row in grouped}


def _place(cursor: str) -> tuple[str, int] | None:
    if not cursor:
        return None
    line, _, file = cursor.partition(":")
    if not re.fullmatch(r"\d{1,15}", line) or not file:
        raise InputError(f"cursor {cursor!r} is not one of a quarantine; take it from the answer before")
    return file, int(line)


def _kind(row: RejectedRow) -> str:
    """The reason without what it quotes, so that like reasons count together."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|-?\d[\d,.e+-]*", "…", row.reason)


def _column(column: Column) -> SchemaColumn:
    lowest, highest = column.range
    return SchemaColumn(
        name=column.name,
        type=column.type,
        role=column.role,
        unit=column.unit,
        meaning=column.meaning,
        lowest=lowest,
        highest=highest,
        categories=list(column.categories),
        aliases=[alias.name for alias in column.aliases],
    )
