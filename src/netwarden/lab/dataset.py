"""Recordings to the files that are shipped: one compressed CSV per day and hour, the same bytes for the same flows.

Written are endpoints, features and truth. Left out is what follows from the rest (flow and community ids, family).
Numbers have as many digits as float32, in which detectors read them, needs to be the same; whole numbers have all.
"""

from __future__ import annotations

import gzip
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from netwarden.errors import InputError
from netwarden.flows.schema import LABEL, FlowSchema
from netwarden.lab.record import CAPTURE, TRUTH, meter_recording
from netwarden.lab.truth import label_flows, load_truth
from netwarden.sources.dataset_folder import DESCRIPTION

SCHEMA_ID = "netwarden_flow"
LARGEST_FILE_BYTES = 3_000_000
LARGEST_TOTAL_BYTES = 25_000_000
ROWS_A_FILE = 16_000  # so that the busiest hour stays below the largest file
_DERIVED = ("flow_id", "community_id")
_TRUTH = (LABEL, "activity", "tool")
_WHOLE_BELOW = 2.0**53
_HOUR_FORMAT = "{day}-hour-{hour:02d}{part}.csv.gz"


DESCRIPTION_TEXT = """\
# What ETL.py reads beside the files of this folder.
name: lab
title: Netwarden's traffic laboratory, five days
schema_id: netwarden_flow
licence: CC-BY-4.0
splits:
  train: [day-1-*, day-2-*, day-3-*]
  validation: [day-4-*]
  test: [day-5-*]
"""


@dataclass(frozen=True)
class Recorded:
    """One recorded day: its flows with label, activity and tool, and how its clock reads."""

    day: str
    starts: datetime
    hour_s: float
    flows: Any  # Arrow table


@dataclass
class Built:
    """What was written: bytes by file, flows by day and label."""

    files: dict[str, int] = field(default_factory=dict)
    flows: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __str__(self) -> str:
        days = sorted({day for day, _ in self.flows})
        labels = sorted({label for _, label in self.flows}, key=lambda name: (name != "benign", name))
        rows = [[label, *(f"{self.flows[day, label]:,}" for day in days)] for label in labels]
        widths = [max(len(row[place]) for row in [["", *days], *rows]) for place in range(len(days) + 1)]
        lines = [
            "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
            for row in [["", *days], *rows]
        ]
        total = sum(self.files.values())
        return "\n".join([*lines, f"{len(self.files)} files, {total / 1e6:.1f} MB, {sum(self.flows.values()):,} flows"])


def read_recording(folder: Path) -> Recorded:
    """A recorded day: its capture metered anew, its flows labelled by its truth."""
    truth = load_truth(folder / TRUTH)
    flows = meter_recording(folder / CAPTURE)
    labels = label_flows(flows, truth)
    columns = {LABEL: labels.column("label"), "activity": labels.column("name"), "tool": labels.column("tool")}
    arrow = flows.arrow
    for name, values in columns.items():
        arrow = arrow.append_column(name, values)
    return Recorded(truth.scenario, truth.starts, truth.hour_s, arrow)


def build_dataset(recordings: Sequence[Recorded], target: Path, schema: FlowSchema) -> Built:
    """The files of all days, written into a folder in place of those of an earlier build.

    Raises InputError, before anything is written, where a day comes twice or the files would be too large.
    """
    names = [recording.day for recording in recordings]
    if len(set(names)) < len(names):
        raise InputError(f"two of the recordings are of one day: {', '.join(sorted(names))}")
    built = Built()
    contents: dict[str, bytes] = {}
    for recording in recordings:
        built.flows.update((recording.day, label) for label in recording.flows.column(LABEL).to_pylist())
        contents |= dict(day_files(recording, schema))
    built.files = {name: len(content) for name, content in contents.items()}
    _refuse_large(built)
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*-hour-*.csv.gz"):
        old.unlink()
    for name, content in contents.items():
        (target / name).write_bytes(content)
    (target / DESCRIPTION).write_text(DESCRIPTION_TEXT, encoding="utf-8")
    return built


def day_files(recording: Recorded, schema: FlowSchema) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a day; flows in order of their start."""
    flows = recording.flows.sort_by([(schema_time(schema), "ascending"), *((name, "ascending") for name in _TIES)])
    began_us = int(recording.starts.timestamp() * 1e6)
    since_us = flows.column(schema_time(schema)).cast(pa.int64()).to_numpy() - began_us
    hours = recording.starts.hour + np.maximum(0, since_us // int(recording.hour_s * 1e6))
    for hour in np.unique(hours).tolist():
        rows = flows.filter(pa.array(hours == hour))
        for nth, start in enumerate(range(0, len(rows), ROWS_A_FILE)):
            part = f"-part-{nth + 1}" if len(rows) > ROWS_A_FILE else ""
            name = _HOUR_FORMAT.format(day=recording.day, hour=hour, part=part)
            yield name, compact_csv(rows.slice(start, ROWS_A_FILE), schema)


_TIES = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")


def schema_time(schema: FlowSchema) -> str:
    """Name of the column that says when a flow began."""
    if schema.time_column is None:
        raise InputError(f"schema {schema.id} has no time, so its flows cannot be told apart by hour")
    return schema.time_column.name


def compact_csv(flows: Any, schema: FlowSchema) -> bytes:
    """A flow table as gzipped CSV; equal tables give equal bytes."""
    names = [column.name for column in schema.stored if column.name not in (*_DERIVED, *_TRUTH)]
    written = pa.table({name: _as_text(flows.column(name).combine_chunks()) for name in [*names, *_TRUTH]})
    plain = io.BytesIO()
    pacsv.write_csv(written, plain, pacsv.WriteOptions(quoting_style="none", quoting_header="none"))
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=0)


def _as_text(values: Any) -> Any:
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, format="%Y-%m-%dT%H:%M:%SZ")
    if not pa.types.is_floating(values.type):
        return values.cast(pa.string())
    numbers = values.fill_null(0.0).to_numpy()
    numbers = np.where(_whole(numbers), numbers, numbers.astype(np.float32))  # may be whole from here on
    whole = _whole(numbers)
    texts = np.where(
        whole, np.where(whole, numbers, 0).astype(np.int64).astype(str), numbers.astype(np.float32).astype(str)
    )
    return pc.if_else(values.is_valid(), pa.array(texts), pa.scalar(None, pa.string()))


def _whole(numbers: Any) -> Any:
    return (numbers == np.rint(numbers)) & (np.abs(numbers) < _WHOLE_BELOW)


def _refuse_large(built: Built) -> None:
    name, largest = max(built.files.items(), key=lambda item: item[1])
    total = sum(built.files.values())
    if largest > LARGEST_FILE_BYTES or total > LARGEST_TOTAL_BYTES:
        raise InputError(
            f"the files would take {total / 1e6:.1f} MB, the largest, {name}, {largest / 1e6:.1f} MB; allowed are "
            f"{LARGEST_TOTAL_BYTES / 1e6:.0f} MB in all and {LARGEST_FILE_BYTES / 1e6:.0f} MB each. "
            "Let the floods and scans of the scenarios send less"
        )
