"""How a column of times is written, found out from its values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.flows.schema import Column, TimeFormat
from netwarden.flows.times import parse_times
from netwarden.sources.profile import ColumnProfile

_NAME = re.compile(r"(^|[^a-z])(ts|time|timestamp|date|datetime|epoch|[sl]time|starttime|start_time)([^a-z]|$)", re.I)
_EPOCHS = {"epoch_s": 1.0, "epoch_ms": 1e3, "epoch_us": 1e6}
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds
_CLOCKS = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y", "%Y/%m/%d", "%Y%m%d", "%d %b %Y", "%b %d %Y")
_ENOUGH = 0.99


@dataclass(frozen=True)
class TimeGuess:
    """The `time:` section of a column, a remark, and what to check."""

    facts: dict[str, Any]
    remark: str = ""
    check: str = ""


def time_format(profile: ColumnProfile) -> TimeGuess | None:
    """How the values are times, or None where they are not. Numbers are times only where the name says so too."""
    if profile.numeric:
        return _epoch(profile) if _NAME.search(profile.name) else None
    sample = pa.array(profile.sample[:500])
    if not len(sample) or pc.match_substring_regex(sample, r"\d").false_count:
        return None
    fits = [pattern for pattern in ("iso", *_patterns(sample)) if _parsed(sample, pattern) >= _ENOUGH]
    if not fits:
        return None
    guess = TimeGuess({"formats": fits[:1]}, "UTC is assumed; add `zone:` if the clock was local")
    if fits[0][:5] in ("%d/%m", "%d-%m") and any(fit[:5] in ("%m/%d", "%m-%d") for fit in fits):
        return TimeGuess(guess.facts, guess.remark, f"{profile.name}: day or month first? every value fits both")
    return guess


def _epoch(profile: ColumnProfile) -> TimeGuess | None:
    for name, factor in _EPOCHS.items():
        low, high = (profile.lowest or 0) / factor, (profile.highest or 0) / factor
        if low >= _EARLIEST and high <= _LATEST:
            return TimeGuess({"formats": [name]})
    return None


def _patterns(sample: Any) -> list[str]:
    first = sample[0].as_py()
    return [
        day if not clock else f"{day} {clock}" for day in _DAYS for clock in (*(_CLOCKS if " " in first else ()), "")
    ]


def _parsed(sample: Any, pattern: str) -> float:
    column = Column(name="t", type="time", time=TimeFormat(formats=(pattern,)))
    return 1.0 - float(parse_times(sample, column).null_count) / len(sample)
