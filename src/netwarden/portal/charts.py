"""What small charts look like: numbers of templates/_charts.html, in units of the view box it draws them in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

WIDTH, HEIGHT = 1000.0, 100.0
_FILLED = 0.84  # of a column's place


class Bin(Protocol):
    """The `span_s` seconds from `start`, and what fell into them by family."""

    @property
    def start(self) -> datetime: ...

    @property
    def span_s(self) -> int: ...

    @property
    def counts(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class Segment:
    """One family's part of a column."""

    name: str
    value: int
    y: float
    height: float


@dataclass(frozen=True)
class Column:
    """One stretch of time."""

    start: datetime
    end: datetime
    total: int
    x: float
    width: float
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class TimeChart:
    """Stacked columns over time. `totals` by family, the largest first; `top` is where the scale ends."""

    columns: tuple[Column, ...]
    totals: dict[str, int]
    top: int

    @property
    def total(self) -> int:
        return sum(self.totals.values())

    @property
    def within_minutes(self) -> bool:
        """Whether ticks are less than a minute apart, so that only seconds tell one from another."""
        return bool(self.columns) and self.columns[-1].end - self.columns[0].start < timedelta(minutes=4)

    @property
    def ticks(self) -> tuple[datetime, ...]:
        """Five moments at equal distances, from the first column's start to the last one's end."""
        if not self.columns:
            return ()
        start, end = self.columns[0].start, self.columns[-1].end
        return tuple(start + (end - start) * part / 4 for part in range(5))


def time_chart(bins: Sequence[Bin]) -> TimeChart:
    """Columns of bins that follow each other."""
    counts = [{name: value for name, value in each.counts.items() if value} for each in bins]
    totals: dict[str, int] = {}
    for count in counts:
        for name, value in count.items():
            totals[name] = totals.get(name, 0) + value
    totals = dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))
    top = nice_top(max((sum(count.values()) for count in counts), default=0))
    place = WIDTH / max(len(bins), 1)
    columns = tuple(
        _column(each, count, tuple(totals), top, at * place + place * (1 - _FILLED) / 2, place * _FILLED)
        for at, (each, count) in enumerate(zip(bins, counts, strict=True))
    )
    return TimeChart(columns, totals, top)


def nice_top(value: float) -> int:
    """The least of 4, 10, 20, 40, 100, … that holds a value: a scale's end that halves well."""
    top = 4
    while top < value:
        power = 10 ** int(math.log10(top))
        top = {1: 2, 2: 4, 4: 10}[top // power] * power
    return top


def spark(values: Sequence[float]) -> str:
    """Points of a line through values, for a view box of 100 by 24; at least 0 and the largest are on it."""
    if len(values) < 2:
        return ""
    top = max(*values, 0) or 1
    step = 100 / (len(values) - 1)
    return " ".join(f"{at * step:.1f},{23 - 22 * max(value, 0) / top:.1f}" for at, value in enumerate(values))


def _column(
    spanned: Bin,
    counts: Mapping[str, int],
    order: tuple[str, ...],
    top: int,
    x: float,
    breadth: float,
) -> Column:
    segments: list[Segment] = []
    y = HEIGHT
    for name in order:
        if value := counts.get(name, 0):
            height = HEIGHT * value / top
            y -= height
            segments.append(Segment(name, value, round(y, 2), round(height, 2)))
    end = spanned.start + timedelta(seconds=spanned.span_s)
    return Column(spanned.start, end, sum(counts.values()), round(x, 2), round(breadth, 2), tuple(segments))


@dataclass(frozen=True)
class PairBin:
    """One range of values: where its place begins, how broad it is, and its shares."""

    name: str
    x: float
    width: float
    then: float
    now: float


@dataclass(frozen=True)
class PairChart:
    """Two distributions over the same ranges, as two outlines of bars and the ranges to point at."""

    then: str
    now: str
    bins: tuple[PairBin, ...]
    top: float


def pair_chart(shares: Sequence[tuple[str, float, float]]) -> PairChart:
    """Bars of (name, share then, share now), side by side; ranges that are empty on both sides are left out."""
    kept = [each for each in shares if each[1] > 0 or each[2] > 0]
    top = max((max(then, now) for _, then, now in kept), default=1.0) or 1.0
    place = WIDTH / max(len(kept), 1)
    bins = tuple(PairBin(name, round(at * place, 1), round(place, 1), a, b) for at, (name, a, b) in enumerate(kept))
    return PairChart(_bars(bins, top, 0.1), _bars(bins, top, 0.52, now=True), bins, top)


def _bars(bins: Sequence[PairBin], top: float, offset: float, *, now: bool = False) -> str:
    """An outline of bars that are each two fifths of their place."""
    parts: list[str] = []
    for each in bins:
        height = HEIGHT * (each.now if now else each.then) / top
        left, width = each.x + each.width * offset, each.width * 0.38
        parts.append(f"M{left:.1f} 100V{HEIGHT - height:.1f}h{width:.1f}V100Z")
    return "".join(parts)
