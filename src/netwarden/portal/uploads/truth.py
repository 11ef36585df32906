"""Truth beside verdicts, of a scored file or of a replay: what was found, missed, and flagged for nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import LabelError, NotFoundError
from netwarden.flows.labels import BENIGN, Families
from netwarden.flows.truth import ATTACK, OTHER
from netwarden.portal.uploads.rows import TRUE_FAMILY, forget_table, row_table
from netwarden.portal.uploads.uploads import ROWS, SUMMARY, TRUTH, TRUTH_SCHEMA, Upload

_NOVEL = "novel"


class AttackRecall(BaseModel):
    """What the detector made of one attack."""

    model_config = ConfigDict(extra="forbid")
    label: str
    family: str
    rows: int
    found: int
    recall: float = Field(ge=0, le=1)
    named: int = Field(description="Found and called by their own family")
    novel: int = Field(description="Found and called novel")


class Cell(BaseModel):
    """Rows of one family that got one answer."""

    model_config = ConfigDict(extra="forbid")
    family: str = Field(description="In truth")
    said: str = Field(description="benign, novel, or the family the detector named")
    rows: int


class TruthReport(BaseModel):
    """Truth beside the verdicts of some flows."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "rows": 3,
                "unknown": 0,
                "attacks": 2,
                "found": 1,
                "benign": 1,
                "mistaken": 0,
                "names": [
                    {"label": "neptune", "family": "dos", "rows": 2, "found": 1, "recall": 0.5, "named": 1, "novel": 0}
                ],
                "confusion": [{"family": "benign", "said": "benign", "rows": 1}],
            }
        },
    )
    rows: int = Field(description="Of which the truth is known")
    unknown: int = Field(description="Of which it is not")
    attacks: int
    found: int
    benign: int
    mistaken: int = Field(description="Benign ones that alert")
    names: list[AttackRecall] = Field(description="The attack that is missed most often first")
    confusion: list[Cell]

    @property
    def recall(self) -> float | None:
        return self.found / self.attacks if self.attacks else None

    @property
    def false_positive_rate(self) -> float | None:
        return self.mistaken / self.benign if self.benign else None


@dataclass(frozen=True)
class Matrix:
    """The confusion as a table: true families down, answers across."""

    said: tuple[str, ...]
    lines: tuple[tuple[str, tuple[int, ...], int], ...]  # family, counts, their sum


Counts = Mapping[tuple[str, str, str], int]  # (label, true family, answer) → rows; label "": the truth is not known


def truth_report(upload: Upload) -> TruthReport:
    """What came of the labels of a file. Raises NotFoundError where it holds none."""
    if not upload.has_truth:
        raise NotFoundError(f"{upload.summary.name} says no labels; send a file with a label column to see the truth")
    return report_of(_counts(upload))


def report_of(counts: Counts) -> TruthReport:
    """Confusion and recall of counted rows; an answer is benign, novel, or the family the detector named."""
    known = {(label, family, said): rows for (label, family, said), rows in counts.items() if label}
    attacks = {key: rows for key, rows in known.items() if key[0] != BENIGN}
    benign = {key: rows for key, rows in known.items() if key[0] == BENIGN}
    cells: Counter[tuple[str, str]] = Counter()
    for (_, family, said), rows in known.items():
        cells[family, said] += rows
    return TruthReport(
        rows=sum(known.values()),
        unknown=sum(counts.values()) - sum(known.values()),
        attacks=sum(attacks.values()),
        found=sum(rows for (_, _, said), rows in attacks.items() if said != BENIGN),
        benign=sum(benign.values()),
        mistaken=sum(rows for (_, _, said), rows in benign.items() if said != BENIGN),
        names=_by_name(attacks),
        confusion=[Cell(family=family, said=said, rows=rows) for (family, said), rows in sorted(cells.items())],
    )


def matrix(report: TruthReport) -> Matrix:
    """The confusion of a report as a table, benign first."""
    return matrix_of({(cell.family, cell.said): cell.rows for cell in report.confusion})


def matrix_of(rows: Mapping[tuple[str, str], int]) -> Matrix:
    """Counts by true family and answer as a table, benign first."""
    order = sorted({family for family, _ in rows}, key=lambda name: (name != BENIGN, name))
    said = sorted({said for _, said in rows} | {BENIGN}, key=lambda name: (name != BENIGN, name == _NOVEL, name))
    lines = [(family, tuple(rows.get((family, answer), 0) for answer in said)) for family in order]
    return Matrix(tuple(said), tuple((family, counts, sum(counts)) for family, counts in lines))


def put_truth(upload: Upload, labels: Sequence[str], families: Families) -> None:
    """Keep the truth of a file that came without: a label for each of its scored rows, empty where nobody knows."""
    family = {label: family_of(label, families) or None for label in set(labels)}
    rows = pq.read_table(upload.folder / ROWS, columns=["row"]).column("row")
    table = pa.table({"row": rows, "label": [label or None for label in labels], "family": [family[x] for x in labels]})
    pq.write_table(table.cast(TRUTH_SCHEMA), upload.folder / TRUTH)
    forget_table(upload.folder)
    told = upload.summary.model_copy(update={"labelled": sum(1 for label in labels if label)})
    (upload.folder / SUMMARY).write_text(told.model_dump_json(), encoding="utf-8")


def family_of(label: str, families: Families, own: Mapping[str, str] | None = None) -> str:
    """Family of a label that stands beside flows; `own`: what its schema says of names. Empty where there is none."""
    if label in ("", BENIGN, ATTACK):
        return label
    try:
        return (own or {}).get(label) or families.family(families.canonical(label))
    except LabelError:
        return OTHER


def _counts(upload: Upload) -> dict[tuple[str, str, str], int]:
    """Rows by label, true family, and what the detector said."""
    names = ["label", TRUE_FAMILY, "verdict", "family"]
    lines = row_table(upload.folder).select(names).group_by(names).aggregate([([], "count_all")]).to_pylist()
    found: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        answer = line["family"] or line["verdict"]
        found[line["label"] or "", line[TRUE_FAMILY] or "", answer] += line["count_all"]
    return dict(found)


def _by_name(attacks: dict[tuple[str, str, str], int]) -> list[AttackRecall]:
    by_name: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for (label, family, said), rows in attacks.items():
        by_name[label, family][said] += rows
    names = []
    for (label, family), answers in by_name.items():
        rows = sum(answers.values())
        found = rows - answers[BENIGN]
        names.append(
            AttackRecall(
                label=label,
                family=family,
                rows=rows,
                found=found,
                recall=found / rows,
                named=answers[family],
                novel=answers[_NOVEL],
            )
        )
    return sorted(names, key=lambda each: (each.recall, -each.rows, each.label))
