"""Text to instants: date patterns, clocks without AM/PM, zones and epoch numbers, as a schema's time column says."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.errors import SchemaError
from netwarden.flows.schema import Column, TimePattern

_INSTANT = pa.timestamp("us", tz="UTC")
_LOCAL = pa.timestamp("us")
_EPOCH_US = {"epoch_s": 1e6, "epoch_ms": 1e3, "epoch_us": 1.0}
_ISO = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_ISO_ZONED = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"
_DECIMAL = r"^[+-]?\d+(\.\d*)?$"


def parse_times(text: Any, column: Column) -> Any:
    """UTC instants of trimmed text; null where no pattern of the column fits. The first pattern that fits counts."""
    if column.time is None:
        raise SchemaError(f"column {column.name!r} is a time without formats; say in the schema how it is written")
    instants = pa.nulls(len(text), _INSTANT)
    for pattern in column.time.patterns:
        if instants.null_count == text.null_count:
            break
        instants = pc.coalesce(instants, _parse(text, pattern, column))
    return instants


def _parse(text: Any, pattern: TimePattern, column: Column) -> Any:
    if pattern.format in _EPOCH_US:
        numbers = _where(text, _DECIMAL).cast(pa.float64())
        return pc.round(pc.multiply(numbers, _EPOCH_US[pattern.format])).cast(pa.int64()).cast(_INSTANT)
    if pattern.format == "iso":
        zoned = _where(text, _ISO_ZONED).cast(_INSTANT)
        return pc.coalesce(zoned, _in_zone(_where(text, _ISO).cast(_LOCAL), pattern, column))
    local = pc.strptime(text, format=pattern.format, unit="us", error_is_null=True)
    return _in_zone(_afternoon(local, pattern.pm_before or 0), pattern, column)


def _where(text: Any, regex: str) -> Any:
    return pc.if_else(pc.match_substring_regex(text, regex), text, pa.scalar(None, pa.string()))


def _afternoon(local: Any, pm_before: int) -> Any:
    """Local times in which hours below `pm_before` are hours after noon."""
    if pm_before == 0:
        return local
    half_day = pa.scalar(12 * 3600 * 1_000_000, pa.duration("us"))
    return pc.if_else(pc.less(pc.hour(local), pm_before), pc.add(local, half_day), local)


def _in_zone(local: Any, pattern: TimePattern, column: Column) -> Any:
    """Instants of local times; an hour that the clock change skips or repeats counts as its earlier reading."""
    try:
        zoned = pc.assume_timezone(local, pattern.zone or "UTC", ambiguous="earliest", nonexistent="earliest")
    except pa.ArrowInvalid as error:
        raise SchemaError(f"column {column.name!r}: time zone {pattern.zone!r} is not known: {error}") from None
    return zoned.cast(_INSTANT)
