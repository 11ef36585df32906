"""Packets to flows: a hash table of exact accumulators, bounded in size, that never sweeps.

Flows stand in one of three lists ordered by their last packet (open, closing, dormant), so that expiry looks at list
heads only. A full table lets its oldest flow go and counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numba as nb
import numpy as np

from netwarden.capture import accumulate
from netwarden.capture.records import (
    ACTIVE_TIMEOUT,
    BWD,
    CLOSED,
    CLOSING,
    DORMANT,
    END_OF_INPUT,
    FLOW,
    FWD,
    IDLE_TIMEOUT,
    INTERIM,
    OPEN,
    TABLE_FULL,
)
from netwarden.errors import ConfigError

METER_VERSION = "1"
MeterMode = Literal["corrected", "cicflowmeter"]

_COUNTS = ("live", "now_us", "late", "evicted", "single_packet", "after_fin", "not_ipv4", "packets", "fragments_joined")
(LIVE, NOW, LATE, EVICTED, SINGLE, AFTER_FIN, NOT_IPV4, PACKETS, JOINED) = range(len(_COUNTS))
_TCP, _UDP = 6, 17
_LONGEST_S = 3000  # beyond it a sum of squared microseconds could leave 63 bits
_FRAGMENTS = 4096
_FRAGMENT_TTL_US = 30_000_000
FRAGMENT = np.dtype([("key", "u8"), ("time_us", "i8"), ("source_port", "i8"), ("target_port", "i8"), ("used", "i8")])


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
        if self.first_fin_ends and self.mode != "cicflowmeter":
            raise ConfigError("first_fin_ends belongs to mode cicflowmeter; corrected flows end on FIN from both sides")


def cicflowmeter_settings(**changes: Any) -> MeterSettings:
    """The original tool's defaults: 120 s from the flow's start, 5 s of silence end an active period."""
    return MeterSettings(**{"mode": "cicflowmeter", "active_timeout_s": 120.0, **changes})


class _Rules(NamedTuple):
    cicflowmeter: bool
    idle_us: int
    active_us: int
    activity_us: int
    linger_us: int
    interim_us: int
    first_fin_ends: bool


class _Table(NamedTuple):
    slots: Any  # int32 (2ⁿ, 2): flow index or −1, tag of its hash
    flows: Any  # FLOW (max_flows)
    hashes: Any  # uint64 (max_flows)
    links: Any  # int32 (max_flows, 2): neighbours in its list
    ends: Any  # int32 (3, 2): head and tail of each list, −1 where empty
    free: Any  # int32 (max_flows): stack of unused flow indices
    counts: Any  # int64: see _COUNTS
    fragments: Any  # FRAGMENT: ports of recent first fragments


class FlowMeter:
    """Packets in time order in, flow records out; holds the open flows in between."""

    def __init__(self, settings: MeterSettings = MeterSettings(), batch_flows: int = 8192) -> None:
        self.settings = settings
        self._rules = _rules(settings)
        self._table = _empty_table(settings.max_flows)
        self._out = np.empty(batch_flows, FLOW)
        self._made = 0

    @property
    def counts(self) -> dict[str, int]:
        """Counters since the start, by name."""
        return dict(zip(_COUNTS, self._table.counts.tolist(), strict=True))

    def feed(self, packets: Any) -> Iterator[Any]:
        """Batches of FLOW records that ended by these packets (PACKET), once enough have gathered.

        A batch is valid until the next one is asked for; `ended` hands out what has gathered so far.
        """
        at = 0
        while at < len(packets):
            at, self._made = _meter(self._table, self._rules, packets, at, self._out, self._made)
            if self._made + 2 >= len(self._out):
                yield from self.ended()

    def ended(self) -> Iterator[Any]:
        """The FLOW records that have ended and were not handed out yet."""
        if self._made:
            made, self._made = self._made, 0
            yield self._out[:made]

    def advance(self, now_ns: int) -> Iterator[Any]:
        """Flows whose timeouts lie before `now_ns`, for live traffic that has gone quiet."""
        self._table.counts[NOW] = max(int(self._table.counts[NOW]), now_ns // 1000)
        full = True
        while full:
            self._made = _expire_all(self._table, self._rules, self._out, self._made)
            full = self._made + 2 >= len(self._out)
            yield from self.ended()

    def flush(self) -> Iterator[Any]:
        """All flows still open; the meter is empty afterwards."""
        yield from self.ended()
        while self._table.counts[LIVE]:
            self._made = _drain(self._table, self._rules, self._out)
            yield from self.ended()


def _rules(settings: MeterSettings) -> _Rules:
    original = settings.mode == "cicflowmeter"
    active_us = int(settings.active_timeout_s * 1e6)
    return _Rules(
        cicflowmeter=original,
        idle_us=active_us if original else int(settings.idle_timeout_s * 1e6),
        active_us=active_us,
        activity_us=int(settings.activity_timeout_s * 1e6),
        linger_us=int(settings.linger_s * 1e6),
        interim_us=int(settings.interim_s * 1e6),
        first_fin_ends=settings.first_fin_ends,
    )


def _empty_table(max_flows: int) -> _Table:
    slots = 1 << max(4, int(2 * max_flows - 1).bit_length())
    return _Table(
        slots=np.full((slots, 2), -1, np.int32),
        flows=np.zeros(max_flows, FLOW),
        hashes=np.zeros(max_flows, np.uint64),
        links=np.full((max_flows, 2), -1, np.int32),
        ends=np.full((3, 2), -1, np.int32),
        free=np.arange(max_flows - 1, -1, -1, dtype=np.int32),
        counts=np.zeros(len(_COUNTS), np.int64),
        fragments=np.zeros(_FRAGMENTS, FRAGMENT),
    )


# --- the state machine --------------------------------------------------------------------------------------

_inline = nb.njit(inline="always", boundscheck=False)


@nb.njit(boundscheck=False, nogil=True, cache=True)
def _meter(table, rules, packets, at, out, made):
    """(packets taken, flows made so far). Stops early when `out` is nearly full."""
    while at < len(packets):
        packet = packets[at]
        time_us = packet.time_ns // 1000
        if time_us < table.counts[NOW]:
            table.counts[LATE] += 1
        else:
            table.counts[NOW] = time_us
        if _due(table, rules) >= 0:
            made = _expire(table, rules, out, made)
        if made + 2 >= len(out):
            return at, made
        at += 1
        table.counts[PACKETS] += 1
        if rules.cicflowmeter:
            if packet.version != 4:
                table.counts[NOT_IPV4] += 1
                continue
            _as_original(packet)
        elif packet.fragment:
            _join_fragment(table, packet, time_us)
        made = _take(table, rules, packet, time_us, out, made)
    return at, made


@_inline
def _as_original(packet):
    """The original knows TCP and UDP only; anything else, and later fragments, become protocol 0 without size."""
    known = packet.protocol in (_TCP, _UDP)
    if not known or packet.header_bytes == 0:
        packet.protocol = 0
        packet.source_port = 0
        packet.target_port = 0
        packet.payload_bytes = 0


@_inline
def _take(table, rules, packet, time_us, out, made):
    """Add one packet to its flow, or open one."""
    hashed = _hash(packet)
    slot = _find(table, hashed, packet)
    index = table.slots[slot, 0]
    if index < 0:
        made = _make_room(table, rules, out, made)
        _open(table, rules, packet, time_us, hashed)
        return made
    flow = table.flows[index]
    lane = _lane(flow, packet, rules.cicflowmeter)
    if flow.state == DORMANT:
        _restart(table, rules, index, packet, time_us, FWD)
        return made
    time_us = max(time_us, flow.last_us)
    if not rules.cicflowmeter and time_us - flow.last_us > (
        rules.linger_us if flow.state == CLOSING else rules.idle_us
    ):
        made = _emit(table, rules, index, CLOSED if flow.state == CLOSING else IDLE_TIMEOUT, out, made)
        _remove(table, index)
        _open(table, rules, packet, time_us, hashed)
        return made
    if time_us - flow.start_us > rules.active_us:
        made = _emit(table, rules, index, ACTIVE_TIMEOUT, out, made)
        _restart(table, rules, index, packet, time_us, FWD if rules.cicflowmeter else lane)
        return made
    if rules.cicflowmeter:
        return _continue_original(table, rules, index, packet, time_us, lane, out, made)
    return _continue(table, rules, index, packet, time_us, lane, hashed, out, made)


@_inline
def _continue(table, rules, index, packet, time_us, lane, hashed, out, made):
    flow = table.flows[index]
    if flow.state == CLOSING and packet.flags & (accumulate.SYN | accumulate.ACK) == accumulate.SYN:
        made = _emit(table, rules, index, CLOSED, out, made)
        _remove(table, index)
        _open(table, rules, packet, time_us, hashed)
        return made
    accumulate.activity(flow, time_us, rules.activity_us)
    accumulate.follow(flow, packet, time_us, lane, rules.activity_us, False)
    closed = packet.flags & accumulate.RST or (flow.fins[FWD] > 0 and flow.fins[BWD] > 0)
    if closed or flow.state == CLOSING:
        _move(table, index, CLOSING)
    else:
        _refresh(table, rules, index)
    if rules.interim_us > 0 and time_us - flow.marked_us >= rules.interim_us:
        flow.marked_us = time_us
        made = _emit(table, rules, index, INTERIM, out, made)
    return made


@_inline
def _continue_original(table, rules, index, packet, time_us, lane, out, made):
    """The original's endings: the first backward FIN, or RST, ends a flow at once; a second forward FIN is ignored.

    Its older builds: the first FIN of either side, and nothing else.
    """
    flow = table.flows[index]
    fin, rst = packet.flags & accumulate.FIN, packet.flags & accumulate.RST
    if fin and lane == FWD and not rules.first_fin_ends:
        flow.fins[FWD] += 1
        if flow.fins[FWD] > 1:
            table.counts[AFTER_FIN] += 1
            return made
    ends = fin if rules.first_fin_ends else (fin and lane == BWD) or (rst and not fin)
    if not ends:
        accumulate.activity(flow, time_us, rules.activity_us)
    accumulate.follow(flow, packet, time_us, lane, rules.activity_us, True)
    if ends:
        made = _emit(table, rules, index, CLOSED, out, made)
        _remove(table, index)
        return made
    _refresh(table, rules, index)
    return made


@_inline
def _lane(flow, packet, cicflowmeter):
    same = packet.source_low == flow.source_low and packet.source_high == flow.source_high
    if cicflowmeter:  # the original looks at the address alone
        return FWD if same else BWD
    return FWD if same and packet.source_port == flow.source_port and packet.target_low == flow.target_low else BWD


@nb.njit(boundscheck=False)
def _open(table, rules, packet, time_us, hashed):
    live = table.counts[LIVE]
    index = table.free[len(table.free) - 1 - live]
    table.counts[LIVE] = live + 1
    flow = table.flows[index]
    flow.source_high, flow.source_low = packet.source_high, packet.source_low
    flow.target_high, flow.target_low = packet.target_high, packet.target_low
    flow.source_port, flow.target_port = packet.source_port, packet.target_port
    flow.protocol, flow.version = packet.protocol, packet.version
    flow.state = OPEN
    slot = _find(table, hashed, packet)
    table.slots[slot, 0] = index
    table.slots[slot, 1] = _tag(hashed)
    table.hashes[index] = hashed
    accumulate.clear(flow, rules.cicflowmeter)
    accumulate.begin(flow, packet, time_us, FWD, rules.cicflowmeter)
    reset = not rules.cicflowmeter and packet.flags & accumulate.RST
    _append(table, index, CLOSING if reset else OPEN)


@nb.njit(boundscheck=False)
def _restart(table, rules, index, packet, time_us, lane):
    """The same endpoints go on as a new flow that keeps its orientation."""
    flow = table.flows[index]
    accumulate.clear(flow, rules.cicflowmeter)
    accumulate.begin(flow, packet, time_us, lane, rules.cicflowmeter)
    _move(table, index, OPEN)


@nb.njit(boundscheck=False)
def _emit(table, rules, index, why, out, made):
    """Copy a flow to the output; the original drops flows of one packet, which are counted."""
    flow = table.flows[index]
    if rules.cicflowmeter and flow.packets[FWD] + flow.packets[BWD] < 2:
        table.counts[SINGLE] += 1
        return made
    out[made] = flow
    out[made].ended_by = why
    out[made].ended_us = table.counts[NOW]
    if why == CLOSED and flow.state == CLOSING:
        out[made].ended_us = min(table.counts[NOW], flow.last_us + rules.linger_us)
    elif why == IDLE_TIMEOUT:
        out[made].ended_us = flow.last_us + rules.idle_us
    if not rules.cicflowmeter:
        accumulate.finish_activity(out[made])
    return made + 1


# --- expiry -------------------------------------------------------------------------------------------------


@_inline
def _due(table, rules):
    """The list whose head has outlived its time longest, or −1."""
    now = table.counts[NOW]
    closing, waiting = table.ends[CLOSING, 0], table.ends[OPEN, 0]
    closing_over = now - table.flows[closing].last_us - rules.linger_us if closing >= 0 else 0
    waiting_over = now - table.flows[waiting].last_us - rules.idle_us if waiting >= 0 else 0
    if closing_over > 0 and closing_over >= waiting_over:
        return CLOSING
    return OPEN if waiting_over > 0 else -1


@nb.njit(boundscheck=False)
def _expire(table, rules, out, made):
    """Let flows go whose time is up, first due first; only list heads are looked at. Leaves room for two in `out`."""
    while made + 2 < len(out):
        which = _due(table, rules)
        if which < 0:
            break
        index = table.ends[which, 0]
        made = _emit(table, rules, index, CLOSED if which == CLOSING else IDLE_TIMEOUT, out, made)
        if rules.cicflowmeter:
            _move(table, index, DORMANT)  # the original remembers the orientation
        else:
            _remove(table, index)
    return made


@nb.njit(boundscheck=False, nogil=True, cache=True)
def _expire_all(table, rules, out, made):
    return _expire(table, rules, out, made)


@nb.njit(boundscheck=False)
def _make_room(table, rules, out, made):
    """Free one entry of a full table: a dormant one, else the flow that has been silent longest."""
    if table.counts[LIVE] < len(table.free):
        return made
    index = table.ends[DORMANT, 0]
    if index < 0:
        index = table.ends[OPEN, 0]
        if index < 0:
            index = table.ends[CLOSING, 0]
        table.counts[EVICTED] += 1
        made = _emit(table, rules, index, TABLE_FULL, out, made)
    _remove(table, index)
    return made


@nb.njit(boundscheck=False, nogil=True, cache=True)
def _drain(table, rules, out):
    made = 0
    for which in (DORMANT, CLOSING, OPEN):
        while table.ends[which, 0] >= 0 and made < len(out):
            index = table.ends[which, 0]
            if which == CLOSING:
                made = _emit(table, rules, index, CLOSED, out, made)
            elif which == OPEN:
                made = _emit(table, rules, index, END_OF_INPUT, out, made)
            _remove(table, index)
    return made


# --- hash table and lists -----------------------------------------------------------------------------------


@_inline
def _mix(value):
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    return value ^ (value >> np.uint64(32))


@_inline
def _hash(packet):
    """Equal for both directions."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    source = _mix(packet.source_low * odd ^ packet.source_high + np.uint64(packet.source_port))
    target = _mix(packet.target_low * odd ^ packet.target_high + np.uint64(packet.target_port))
    return _mix(source + target + np.uint64(packet.protocol))


@_inline
def _tag(hashed):
    return np.int32(np.uint32(hashed >> np.uint64(32)))


@_inline
def _find(table, hashed, packet):
    """Slot of the packet's flow, or the empty slot where it would go."""
    mask = np.int64(len(table.slots) - 1)
    slot = np.int64(hashed & np.uint64(mask))
    tag = _tag(hashed)
    while True:
        index = table.slots[slot, 0]
        if index < 0 or (table.slots[slot, 1] == tag and _same(table.flows[index], packet)):
            return slot
        slot = (slot + 1) & mask


@_inline
def _same(flow, packet):
    if flow.protocol != packet.protocol or flow.version != packet.version:
        return False
    forward = (
        flow.source_low == packet.source_low
        and flow.target_low == packet.target_low
        and flow.source_port == packet.source_port
        and flow.target_port == packet.target_port
        and flow.source_high == packet.source_high
        and flow.target_high == packet.target_high
    )
    return forward or (
        flow.source_low == packet.target_low
        and flow.target_low == packet.source_low
        and flow.source_port == packet.target_port
        and flow.target_port == packet.source_port
        and flow.source_high == packet.target_high
        and flow.target_high == packet.source_high
    )


@nb.njit(boundscheck=False)
def _remove(table, index):
    """Take a flow out of list and table; followers shift back, so no tombstones are left."""
    _unlink(table, index)
    mask = np.int64(len(table.slots) - 1)
    hole = np.int64(table.hashes[index] & np.uint64(mask))
    while table.slots[hole, 0] != index:
        hole = (hole + 1) & mask
    probe = hole
    while True:
        probe = (probe + 1) & mask
        other = table.slots[probe, 0]
        if other < 0:
            break
        home = np.int64(table.hashes[other] & np.uint64(mask))
        if ((probe - home) & mask) >= ((probe - hole) & mask):
            table.slots[hole, 0] = other
            table.slots[hole, 1] = table.slots[probe, 1]
            hole = probe
    table.slots[hole, 0] = -1
    table.counts[LIVE] -= 1
    table.free[len(table.free) - 1 - table.counts[LIVE]] = index


@_inline
def _refresh(table, rules, index):
    """Put an open flow at the end of its list, at most once per hundredth of the timeout: relinking costs more than
    all the sums, and that much disorder only delays an expiry by as much."""
    flow = table.flows[index]
    if flow.last_us - flow.linked_us > rules.idle_us // 128:
        _move(table, index, OPEN)


@nb.njit(boundscheck=False)
def _move(table, index, which):
    """Put a flow at the end of a list."""
    _unlink(table, index)
    _append(table, index, which)


@_inline
def _append(table, index, which):
    tail = table.ends[which, 1]
    flow = table.flows[index]
    flow.state = which
    flow.linked_us = flow.last_us
    table.links[index, 0] = tail
    table.links[index, 1] = -1
    if tail < 0:
        table.ends[which, 0] = index
    else:
        table.links[tail, 1] = index
    table.ends[which, 1] = index


@_inline
def _unlink(table, index):
    which = table.flows[index].state
    before, after = table.links[index, 0], table.links[index, 1]
    if before < 0:
        table.ends[which, 0] = after
    else:
        table.links[before, 1] = after
    if after < 0:
        table.ends[which, 1] = before
    else:
        table.links[after, 0] = before


# --- fragments ----------------------------------------------------------------------------------------------


@nb.njit(boundscheck=False)
def _join_fragment(table, packet, time_us):
    """Remember the ports of a first fragment; give them to the later ones of the same datagram."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    key = _mix(packet.source_low * odd + packet.source_high)
    key = _mix(key ^ (packet.target_low * odd + packet.target_high))
    key = _mix(key ^ (np.uint64(packet.fragment_id) << np.uint64(8)) ^ np.uint64(packet.protocol))
    entry = table.fragments[np.int64(key & np.uint64(_FRAGMENTS - 1))]
    if packet.fragment == 1:
        entry.key, entry.time_us, entry.used = key, time_us, 1
        entry.source_port, entry.target_port = packet.source_port, packet.target_port
    elif entry.used and entry.key == key and abs(time_us - entry.time_us) <= _FRAGMENT_TTL_US:
        packet.source_port, packet.target_port = entry.source_port, entry.target_port
        table.counts[JOINED] += 1


METER_KERNELS = (_meter, _expire_all, _drain)  # those that Python calls
