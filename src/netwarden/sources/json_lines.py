"""JSON lines to tables of text: Zeek's JSON logs, Suricata's EVE, and flows as anyone writes them, one object a line.

Nested objects become dotted names (`flow.pkts_toserver`). A field that a record leaves out has no value there.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from netwarden.errors import SchemaError
from netwarden.flows.conform import match_columns
from netwarden.flows.schema import FlowSchema

SAMPLE_LINES = 5000
_EVE = {"event_type": ("flow",)}  # what of an EVE log is a flow, where no schema says it
_PLAIN = re.compile(r"\w{1,32}")
Only = Mapping[str, tuple[str, ...]]


def is_json(line: str) -> bool:
    """Whether a file whose first line this is holds JSON objects."""
    return line.removeprefix("\ufeff").lstrip().startswith("{")


def field_names(lines: Iterable[str], schema: FlowSchema | None, file: str) -> tuple[str, ...]:
    """Names of the columns to read, as the file spells them, from its first lines.

    Without a schema, all that occur; else one for each column of the schema, whether it occurs there or not, because
    sensors leave out what they have no value for. Raises SchemaError where most features occur in no record.
    """
    seen: dict[str, None] = {}
    for line in lines:
        record, _ = _record(line)
        if record is not None and _other_kind(record, schema.file.only if schema else _EVE) is None:
            seen.update(dict.fromkeys(record))
    if schema is None:
        return tuple(seen)
    found = {name: source.name for name, source in match_columns(list(seen), schema).items()}
    absent = [column.name for column in schema.features if column.name not in found]
    if seen and 2 * len(absent) > len(schema.features):
        raise SchemaError(
            f"the records of {file} have {len(schema.features) - len(absent)} of {len(schema.features)} features of "
            f"schema {schema.id}, and not {', '.join(absent[:8])}; is this file in another schema?"
        )
    return tuple(
        found.get(column.name, column.aliases[0].name if column.aliases else column.name) for column in schema.columns
    )


def parse_records(
    text: str, names: tuple[str, ...], only: Only
) -> tuple[Any, npt.NDArray[np.int64], list[tuple[int, str, str]], Counter[str]]:
    """Records of a text as a table, the line of each, the lines that are none (reason, text), and others by kind."""
    columns: list[list[str | None]] = [[] for _ in names]
    rows: list[int] = []
    wrong: list[tuple[int, str, str]] = []
    skipped: Counter[str] = Counter()
    for place, line in enumerate(text.split("\n")[:-1]):
        record, fault = _record(line)
        if record is None:
            wrong.append((place, fault, line))
            continue
        kind = _other_kind(record, only)
        if kind is not None:
            skipped[kind] += 1
            continue
        rows.append(place)
        for column, name in zip(columns, names, strict=True):
            column.append(record.get(name))
    arrays = [pa.array(column, pa.string()) for column in columns]
    return pa.Table.from_arrays(arrays, list(names)), np.array(rows, np.int64), wrong, skipped


def _record(line: str) -> tuple[dict[str, str | None] | None, str]:
    """Fields of one line by dotted name, as text; or None and why it is no record."""
    try:
        value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg}"
    except (ValueError, RecursionError):
        return None, "not JSON: nested too deep"
    if not isinstance(value, dict):
        return None, "not a JSON object"
    fields: dict[str, str | None] = {}
    _flatten(value, "", fields)
    return fields, ""


def _flatten(record: dict[str, Any], prefix: str, fields: dict[str, str | None]) -> None:
    for name, value in record.items():
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{name}.", fields)
        elif isinstance(value, bool):
            fields[prefix + name] = "1" if value else "0"
        elif isinstance(value, list):
            fields[prefix + name] = json.dumps(value)
        else:
            fields[prefix + name] = value


def _other_kind(record: Mapping[str, str | None], only: Only) -> str | None:
    """What else than a flow a record is; None where it is one."""
    for field, wanted in only.items():
        value = record.get(field)
        if value is not None and value not in wanted:
            return f"{field} {value}" if _PLAIN.fullmatch(value) else f"{field} other"
    return None
