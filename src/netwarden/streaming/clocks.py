"""The time of day, and whether somebody has set it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
_STEP_NS = 1_000_000_000  # time servers move a clock by less without setting it


def wall_clock() -> datetime:
    """The time of day. It may be set back or forward at any moment, so that no wait and no order rests on it."""
    return datetime.now(UTC)


def clock_watch(
    wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
) -> Callable[[], bool]:
    """A question whether the time of day was set, by over a second, since this call."""
    begun_ns = wall_ns() - steady_ns()
    return lambda: abs(wall_ns() - steady_ns() - begun_ns) > _STEP_NS
