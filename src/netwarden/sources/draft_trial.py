"""A drafted schema tried on its own file: what does not fit, and the faults that the file is known for from now on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from netwarden.errors import SchemaError
from netwarden.flows.content import row_hashes
from netwarden.flows.labels import Families
from netwarden.flows.schema import LABEL, FlowSchema
from netwarden.params import ValidateParams
from netwarden.sources.files import read_batches


@dataclass(frozen=True)
class Trial:
    """Rows that fit, those that do not by reason, and known faults by the name of the check that counts them."""

    rows: int
    rejected: Counter[str]
    faults: dict[str, int]

    @property
    def checks(self) -> list[str]:
        """What a person should look at."""
        return [
            f"{rows} of {self.rows + self.rejected.total()} rows will be quarantined: {reason}"
            for reason, rows in self.rejected.most_common(5)
        ]

    def as_yaml(self) -> str:
        """The `faults` section, where there are any."""
        if not self.faults:
            return ""
        lines = [f"  {name}: {number}" for name, number in self.faults.items()]
        return "\n".join(["faults: # as the drafted file has them; only more will fail", *lines, ""])


def try_schema(file: Path, schema: FlowSchema, families: Families) -> Trial:
    """Outcome of reading a whole file with its labels; about 10 bytes a row are kept to find conflicting labels.

    Raises SchemaError where no row fits.
    """
    rejected: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    names: dict[str, int] = {}
    contents: list[npt.NDArray[np.uint64]] = []
    labels: list[npt.NDArray[np.int16]] = []
    for batch in read_batches(file, schema, families, labelled=True):
        rejected.update(item.reason for item in batch.rejected)
        table = batch.table.arrow
        missing.update({column.name: table.column(column.name).null_count for column in schema.features})
        contents.append(row_hashes(table, [column.name for column in schema.features]))
        labels.append(
            np.array([names.setdefault(name, len(names)) for name in table.column(LABEL).to_pylist()], np.int16)
        )
    rows = sum(map(len, labels))
    if not rows:
        reason, count = rejected.most_common(1)[0]
        raise SchemaError(f"no row of {file.name} fits the drafted schema; {count} rows: {reason}")
    faults = {
        "missing_values": _missing_faults(missing, rows),
        "label_conflicts": _conflicts(np.concatenate(contents), np.concatenate(labels)),
    }
    return Trial(rows, rejected, {name: number for name, number in faults.items() if number})


def _missing_faults(missing: Counter[str], rows: int) -> int:
    """Missing values in columns that miss many. Half the limit: without duplicate rows the share may be higher."""
    limit = ValidateParams().max_missing_share * rows / 2
    return sum(values for values in missing.values() if values > limit)


def _conflicts(contents: npt.NDArray[np.uint64], labels: npt.NDArray[np.int16]) -> int:
    """Sets of rows with equal features and different labels."""
    order = np.lexsort((labels, contents))
    contents, labels = contents[order], labels[order]
    same = contents[1:] == contents[:-1]
    return len(np.unique(contents[1:][same & (labels[1:] != labels[:-1])]))
