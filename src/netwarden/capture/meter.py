"""Packets to flows: a hash table of exact accumulators, bounded in size, that never sweeps.

Flows stand in one of three lists ordered by their last packet (open, closing, dormant), so that expiry looks at list
heads only. A full table lets its oldest flow go and counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netwarden.capture.machine import Rules, drain_flows, expire_flows, meter_packets
from netwarden.capture.records import FLOW
from netwarden.capture.slots import COUNTS, LIVE, NOW, empty_table
from netwarden.errors import ConfigError

if TYPE_CHECKING:
    from netwarden.capture.payload import PayloadHeads

BATCH_FLOWS = 8192
METER_VERSION = "1"  # of what the features mean: raised when the same packets give other numbers, whatever is released
MeterMode = Literal["corrected", "cicflowmeter"]

_LONGEST_S = 3000  # beyond it a sum of squared microseconds could leave 63 bits


@dataclass(frozen=True)
class MeterSettings:
    """How packets are grouped into flows. Times in seconds.

    The original's one timeout counts from the flow's start; in `cicflowmeter` mode `active_timeout_s` is that one
    and the others have no effect. `first_fin_ends` (that mode only): end flows like the builds that made the published
    files, at the first FIN of either side and not at RST; see docs/decisions/0012-which-build.md.
    """

    mode: MeterMode = "corrected"
    max_flows: int = 131_072
    idle_timeout_s: float = 120.0
    active_timeout_s: float = 1800.0
    activity_timeout_s: float = 5.0
    linger_s: float = 0.5
    interim_s: float = 0.0
    first_fin_ends: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("corrected", "cicflowmeter"):
            raise ConfigError(f"no meter mode {self.mode!r}; known: corrected, cicflowmeter")
        if not 1 <= self.max_flows <= 1 << 28:
            raise ConfigError(f"max_flows is {self.max_flows}; it must lie between 1 and 2**28")
        if min(self.idle_timeout_s, self.active_timeout_s) <= 0 or (
            self.idle_timeout_s + self.active_timeout_s > _LONGEST_S
        ):
            raise ConfigError(f"idle and active timeout must be positive and together at most {_LONGEST_S} s")
        if self.interim_s < 0 or (self.interim_s and self.mode == "cicflowmeter"):
            raise ConfigError("interim records come every so many seconds, and in mode corrected alone")
        if self.first_fin_ends and self.mode != "cicflowmeter":
            raise ConfigError("first_fin_ends belongs to mode cicflowmeter; corrected flows end on FIN from both sides")


def cicflowmeter_settings(**changes: Any) -> MeterSettings:
    """The original tool's defaults: 120 s from the flow's start, 5 s of silence end an active period."""
    return MeterSettings(**{"mode": "cicflowmeter", "active_timeout_s": 120.0, **changes})


class FlowMeter:
    """Packets in time order in, flow records out; holds the open flows in between."""

    def __init__(
        self,
        settings: MeterSettings = MeterSettings(),
        batch_flows: int = BATCH_FLOWS,
        heads: PayloadHeads | None = None,
    ) -> None:
        self.settings = settings
        self._heads = heads
        self._rules = _rules(settings)
        self._table = empty_table(settings.max_flows)
        self._out = np.empty(batch_flows, FLOW)
        self._made = 0

    @property
    def counts(self) -> dict[str, int]:
        """Counters since the start, by name."""
        return dict(zip(COUNTS, self._table.counts.tolist(), strict=True))

    def feed(self, packets: Any) -> Iterator[Any]:
        """Batches of FLOW records that ended by these packets (PACKET), once enough have gathered.

        A batch is valid until the next one is asked for; `ended` hands out what has gathered so far.
        """
        at = 0
        meter = meter_packets if self._heads is None else self._heads.metering(packets)
        while at < len(packets):
            at, self._made = meter(self._table, self._rules, packets, at, self._out, self._made)
            if self._made + 2 >= len(self._out):
                yield from self.ended()

    def ended(self) -> Iterator[Any]:
        """The FLOW records that have ended and were not handed out yet."""
        if self._made:
            made, self._made = self._made, 0
            if self._heads is not None:
                self._heads.complete(self._out[:made])
            yield self._out[:made]

    def advance(self, now_ns: int) -> Iterator[Any]:
        """Flows whose timeouts lie before `now_ns`, for live traffic that has gone quiet."""
        self._table.counts[NOW] = max(int(self._table.counts[NOW]), now_ns // 1000)
        full = True
        while full:
            self._made = expire_flows(self._table, self._rules, self._out, self._made)
            full = self._made + 2 >= len(self._out)
            yield from self.ended()

    def flush(self) -> Iterator[Any]:
        """All flows still open; the meter is empty afterwards."""
        yield from self.ended()
        while self._table.counts[LIVE]:
            self._made = drain_flows(self._table, self._rules, self._out)
            yield from self.ended()


def _rules(settings: MeterSettings) -> Rules:
    original = settings.mode == "cicflowmeter"
    active_us = int(settings.active_timeout_s * 1e6)
    return Rules(
        cicflowmeter=original,
        idle_us=active_us if original else int(settings.idle_timeout_s * 1e6),
        active_us=active_us,
        activity_us=int(settings.activity_timeout_s * 1e6),
        linger_us=int(settings.linger_s * 1e6),
        interim_us=int(settings.interim_s * 1e6),
        first_fin_ends=settings.first_fin_ends,
    )


METER_KERNELS = (meter_packets, expire_flows, drain_flows)  # those that Python calls
