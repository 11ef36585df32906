"""How much of what a network needs: from its packets, flows and retention to cores, memory, Redis, store and network.

Rates are those of `benchmarks/results`, the slowest that was measured; a test holds the two together. What was tried at
the size asked for is told apart from what is only reckoned from a smaller one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Basis = Literal["measured", "extrapolated"]

_DAY_S = 86_400
HEADROOM = 0.5  # share of a core that is planned with: traffic has peaks


@dataclass(frozen=True)
class Rate:
    """A figure that was measured: which benchmark's results hold it, by which name."""

    value: float
    subject: str
    name: str


METERED_PPS = Rate(1_500_000, "meter", "pps everything")
METERED_FLOWS = Rate(22_000, "soak", "growth of memory")  # its flows by its seconds
SENSOR_MB = Rate(465, "soak", "memory at 10000000 flows")
LIVE_PPS = Rate(7_000, "soak", "growth of memory, live")  # the most that a live interface was tried with
WORKER_FLOWS = Rate(53_700, "stream", "one worker, loaded: flows to stored alerts")
FLOW_BYTES = Rate(400, "capacity", "flow in a batch of 2048")
SPARSE_FLOW_BYTES = Rate(1_160, "capacity", "flow in a batch of 100")
ALERT_BYTES = Rate(4_640, "capacity", "alert in the embedded store")
ALERTS_STORED = Rate(800, "capacity", "alerts into the embedded store")
RATES = (
    METERED_PPS,
    METERED_FLOWS,
    SENSOR_MB,
    LIVE_PPS,
    WORKER_FLOWS,
    FLOW_BYTES,
    SPARSE_FLOW_BYTES,
    ALERT_BYTES,
    ALERTS_STORED,
)

# Never measured here, and so only in what is extrapolated.
_WORKER_MB = 600
_REDIS_MB_S = 200  # through one Redis, in and out each
_MONGODB_ALERTS = 5_000  # a second into one replica set
_EMBEDDED_ALERTS = 1_000_000  # kept: what benchmarks/bench_alerts.py looks through


@dataclass(frozen=True)
class Traffic:
    """What is to be watched, and how long alerts are kept."""

    packets_per_s: float
    flows_per_s: float
    retention_days: float
    alert_share: float = 0.001
    packet_bytes: float = 700
    outage_s: float = 600

    @property
    def alerts_per_s(self) -> float:
        return self.flows_per_s * self.alert_share

    @property
    def alerts_kept(self) -> float:
        return self.alerts_per_s * _DAY_S * self.retention_days

    @property
    def flow_bytes(self) -> float:
        """Of a flow on its way: those of one second travel together."""
        return (FLOW_BYTES if self.flows_per_s >= 2048 else SPARSE_FLOW_BYTES).value


@dataclass(frozen=True)
class Need:
    """One line of a plan."""

    part: str
    amount: str
    basis: Basis
    why: str


def plan(traffic: Traffic) -> list[Need]:
    """What the traffic needs, part by part, in the order that flows take."""
    return [*_sensors(traffic), *_queue(traffic), *_workers(traffic), *_store(traffic), _people(traffic)]


def describe_plan(traffic: Traffic) -> str:
    """The plan as a table, with what breaks first."""
    rows = [("part", "needs", "basis", "because"), *((n.part, n.amount, n.basis, n.why) for n in plan(traffic))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])) for row in rows
    ]
    return "\n".join((*lines, "", f"First to break: {first_to_break(traffic)}"))


def first_to_break(traffic: Traffic) -> str:
    """What of one machine with everything on it is the nearest to its end, or beyond."""
    loads = {
        "the one core of a sensor": _sensor_cores(traffic),
        "the one worker": traffic.flows_per_s / WORKER_FLOWS.value,
        "the embedded store": max(traffic.alerts_per_s / ALERTS_STORED.value, traffic.alerts_kept / _EMBEDDED_ALERTS),
        "one Redis": traffic.flows_per_s * traffic.flow_bytes / (_REDIS_MB_S * 1e6),
    }
    name, load = max(loads.items(), key=lambda item: item[1])
    others = [f"{other} ({each:.0%})" for other, each in loads.items() if each > 1 and other != name]
    return f"{name} ({load:.0%} of what one bears)" + (f"; beyond theirs too: {', '.join(others)}" if others else "")


def _sensor_cores(traffic: Traffic) -> float:
    """Cores at full load."""
    return max(traffic.packets_per_s / METERED_PPS.value, traffic.flows_per_s / METERED_FLOWS.value)


def _sensors(traffic: Traffic) -> list[Need]:
    count = max(1, math.ceil(_sensor_cores(traffic) / HEADROOM))
    tried = count == 1 and traffic.packets_per_s <= LIVE_PPS.value
    splitting = "" if count == 1 else "; flows shared out by a packet broker or by network cards"
    return [
        Need(
            "sensors",
            f"{count} of 1 core, {SENSOR_MB.value:.0f} MB each",
            "measured" if tried else "extrapolated",
            f"{METERED_PPS.value:,.0f} packets/s, {METERED_FLOWS.value:,.0f} flows/s a core on captures, "
            f"{LIVE_PPS.value:,.0f} packets/s tried live{splitting}",
        ),
        Need(
            "mirrored link",
            _bits(traffic.packets_per_s * traffic.packet_bytes),
            "extrapolated",
            f"packets of {traffic.packet_bytes:.0f} bytes",
        ),
    ]


def _queue(traffic: Traffic) -> list[Need]:
    a_second = traffic.flows_per_s * traffic.flow_bytes
    through_one = traffic.flows_per_s <= WORKER_FLOWS.value
    count = max(1, math.ceil(a_second / (_REDIS_MB_S * 1e6)))
    return [
        Need(
            "Redis",
            f"{count} of 1 core, {_bytes(a_second * traffic.outage_s)} for {traffic.outage_s / 60:.0f} min alone",
            "measured" if through_one else "extrapolated",
            f"{traffic.flow_bytes:.0f} bytes a flow; beyond stream.queue_mb sensors keep it on disk",
        ),
        Need(
            "network of Redis",
            f"{_bits(a_second)} in, the same out",
            "measured" if through_one else "extrapolated",
            "each flow goes in once and out once",
        ),
    ]


def _workers(traffic: Traffic) -> list[Need]:
    count = max(1, math.ceil(traffic.flows_per_s / (WORKER_FLOWS.value * HEADROOM)))
    return [
        Need(
            "workers",
            f"{count} of 1 core, {_WORKER_MB} MB each",
            "measured" if count == 1 else "extrapolated",
            f"{WORKER_FLOWS.value:,.0f} flows/s a worker, hybrid; they share nothing but queue and store",
        )
    ]


def _store(traffic: Traffic) -> list[Need]:
    kept = traffic.alerts_kept
    embedded = traffic.alerts_per_s <= ALERTS_STORED.value * HEADROOM and kept <= _EMBEDDED_ALERTS
    shards = max(1, math.ceil(traffic.alerts_per_s / _MONGODB_ALERTS))
    return [
        Need(
            "store",
            "embedded" if embedded else f"MongoDB, {shards} replica set{'s' * (shards > 1)}",
            "measured" if embedded else "extrapolated",
            f"{traffic.alerts_per_s:,.1f} alerts/s; the embedded one takes {ALERTS_STORED.value:,.0f} "
            f"and is quick up to {_EMBEDDED_ALERTS:,} kept",
        ),
        Need(
            "disk of the store",
            _bytes(kept * ALERT_BYTES.value),
            "extrapolated",
            f"{kept:,.0f} alerts in {traffic.retention_days:.0f} days, {ALERT_BYTES.value:,.0f} bytes each",
        ),
    ]


def _people(traffic: Traffic) -> Need:
    a_day = traffic.alerts_per_s * _DAY_S
    return Need(
        "people",
        f"{a_day:,.0f} alerts a day",
        "extrapolated",
        "nobody looks at more than some hundreds: choose the budget by alerts a day, group, suppress",
    )


def _bits(bytes_per_s: float) -> str:
    for unit, size in (("Tbit/s", 1e12), ("Gbit/s", 1e9), ("Mbit/s", 1e6)):
        if bytes_per_s * 8 >= size:
            return f"{bytes_per_s * 8 / size:.3g} {unit}"
    return f"{bytes_per_s * 8 / 1e3:.3g} kbit/s"


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e6:.3g} MB"
