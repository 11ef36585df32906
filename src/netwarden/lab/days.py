"""The recorded days as rows: features, truth, parts and who made what; read straight from the shipped files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import InputError
from netwarden.evaluation.split import assign_parts
from netwarden.features.preprocessor import fit_preprocessor
from netwarden.flows.labels import BENIGN, load_families
from netwarden.flows.schema import LABEL, SOURCE_FILE, SPLIT, FlowSchema
from netwarden.flows.table import FlowTable
from netwarden.params import TransformParams
from netwarden.settings import Settings
from netwarden.sources.etl_plan import Plan, make_plan
from netwarden.sources.files import read_batches

Texts = npt.NDArray[np.str_]
Marks = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float32]

_PLACE = re.compile(r"(?P<day>[\w-]*?)-hour-(?P<hour>\d+)")


@dataclass(frozen=True)
class Days:
    """All flows of a dataset folder, in the order of its files."""

    table: FlowTable
    schema: FlowSchema
    leave_out: tuple[str, ...] = ()  # patterns of features that models do not see

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def labels(self) -> Texts:
        return self.texts(LABEL)

    @cached_property
    def attack(self) -> Marks:
        return np.asarray(self.labels != BENIGN)

    @cached_property
    def splits(self) -> Texts:
        return self.texts(SPLIT)

    @cached_property
    def tools(self) -> Texts:
        return self.texts("tool")

    @cached_property
    def activities(self) -> Texts:
        """What made each flow, by its name in the scenario, whichever host it ran on."""
        return self._each("activity", lambda name: name.partition("@")[0])

    @cached_property
    def days(self) -> Texts:
        """`day-1` and so on, from the file's name."""
        return self._each(SOURCE_FILE, lambda name: _place(name)["day"])

    @cached_property
    def hours(self) -> Texts:
        """Hour of the lab's day, from the file's name."""
        return self._each(SOURCE_FILE, lambda name: _place(name)["hour"])

    @cached_property
    def variants(self) -> Texts:
        """Attack and tool, `syn_scan (nmap)`; benign where it is."""
        pairs = zip(self.labels.tolist(), self.tools.tolist(), strict=True)
        return np.array([f"{label} ({tool})" if tool and label != BENIGN else label for label, tool in pairs])

    @cached_property
    def features(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.schema.trainable(leave_out=self.leave_out))

    @cached_property
    def matrix(self) -> Matrix:
        """Features as detectors read them; every feature of this schema is a number."""
        return fit_preprocessor(self.table, self.schema, leave_out=self.leave_out).transform(self.table.arrow)

    def parts(self, seed: int, params: TransformParams) -> Texts:
        """Which rows fit, calibrate, set the threshold, validate and test."""
        return assign_parts(self.table, self.schema, params.model_copy(update={"seed": seed}))

    def texts(self, name: str) -> Texts:
        """A column of text; empty where a row has none."""
        return np.asarray(pc.fill_null(self.table.arrow.column(name), "").to_pylist(), dtype=str)

    def _each(self, name: str, change: Callable[[str], str]) -> Texts:
        found, codes = np.unique(self.texts(name), return_inverse=True)
        return np.array([change(text) for text in found.tolist()])[codes]


def load_days(settings: Settings, folder: Path | None = None, leave_out: tuple[str, ...] = ()) -> Days:
    """Every row of a dataset folder (default: the one that comes along), conformed as a load into the store would.

    `leave_out`: patterns of features that models are not to see.

    Raises InputError where a row is no flow: shipped files have none.
    """
    plan = make_plan(settings, [folder] if folder else [], dataset="" if folder else "lab", schema="")
    tables = [table for file in plan.files for table in _file(settings, plan, file.path, file.name, file.split)]
    return Days(FlowTable(pa.concat_tables(tables).combine_chunks(), plan.schema.id), plan.schema, leave_out)


def _file(settings: Settings, plan: Plan, path: Path, name: str, split: str) -> list[Any]:
    families = load_families(settings.schema_dir / "families.yaml")
    tables = []
    for batch in read_batches(path, plan.schema, families, labelled=True):
        if batch.rejected:
            raise InputError(f"{path}: {batch.rejected[0].reason}; shipped files hold good rows only, build them again")
        rows = len(batch.table)
        arrow = batch.table.arrow.append_column(SPLIT, pa.repeat(pa.scalar(split), rows))
        tables.append(arrow.append_column(SOURCE_FILE, pa.repeat(pa.scalar(name), rows)))
    return tables


def _place(name: str) -> dict[str, str]:
    found = _PLACE.match(name)
    return found.groupdict() if found else {"day": name, "hour": ""}
