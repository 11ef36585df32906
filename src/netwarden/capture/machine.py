"""Which flow a packet joins, and when a flow ends: the state machine of both modes."""

from __future__ import annotations

from typing import NamedTuple

from netwarden.capture import accumulate
from netwarden.capture.kernels import entry_kernel, inlined, kernel
from netwarden.capture.records import (
    ACTIVE_TIMEOUT,
    BWD,
    CLOSED,
    CLOSING,
    DORMANT,
    END_OF_INPUT,
    FWD,
    IDLE_TIMEOUT,
    INTERIM,
    OPEN,
    TABLE_FULL,
)
from netwarden.capture.slots import (
    AFTER_FIN,
    EVICTED,
    LATE,
    LIVE,
    NOT_IPV4,
    NOW,
    PACKETS,
    SINGLE,
    append,
    find,
    flow_hash,
    hash_tag,
    join_fragment,
    move,
    refresh,
    remove,
)

_TCP, _UDP = 6, 17


class Rules(NamedTuple):
    """MeterSettings as kernels take them."""

    cicflowmeter: bool
    idle_us: int
    active_us: int
    activity_us: int
    linger_us: int
    interim_us: int
    first_fin_ends: bool


@entry_kernel
def meter_packets(table, rules, packets, at, out, made):
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
            join_fragment(table, packet, time_us)
        made = _take(table, rules, packet, time_us, out, made)
    return at, made


@inlined
def _as_original(packet):
    """The original knows TCP and UDP only; anything else, and later fragments, become protocol 0 without size."""
    known = packet.protocol in (_TCP, _UDP)
    if not known or packet.header_bytes == 0:
        packet.protocol = 0
        packet.source_port = 0
        packet.target_port = 0
        packet.payload_bytes = 0


@inlined
def _take(table, rules, packet, time_us, out, made):
    """Add one packet to its flow, or open one."""
    hashed = flow_hash(packet)
    slot = find(table, hashed, packet)
    index = table.slots[slot, 0]
    if index < 0:
        made = _make_room(table, rules, out, made)
        _open(table, rules, packet, time_us, hashed)
        return made
    flow = table.flows[index]
    lane = lane_of(flow, packet, rules.cicflowmeter)
    if flow.state == DORMANT:
        _restart(table, rules, index, packet, time_us, FWD)
        return made
    time_us = max(time_us, flow.last_us)
    if not rules.cicflowmeter and time_us - flow.last_us > (
        rules.linger_us if flow.state == CLOSING else rules.idle_us
    ):
        made = _emit(table, rules, index, CLOSED if flow.state == CLOSING else IDLE_TIMEOUT, out, made)
        remove(table, index)
        _open(table, rules, packet, time_us, hashed)
        return made
    if time_us - flow.start_us > rules.active_us:
        made = _emit(table, rules, index, ACTIVE_TIMEOUT, out, made)
        _restart(table, rules, index, packet, time_us, FWD if rules.cicflowmeter else lane)
        return made
    if rules.cicflowmeter:
        return _continue_original(table, rules, index, packet, time_us, lane, out, made)
    return _continue(table, rules, index, packet, time_us, lane, hashed, out, made)


@inlined
def _continue(table, rules, index, packet, time_us, lane, hashed, out, made):
    flow = table.flows[index]
    if flow.state == CLOSING and packet.flags & (accumulate.SYN | accumulate.ACK) == accumulate.SYN:
        made = _emit(table, rules, index, CLOSED, out, made)
        remove(table, index)
        _open(table, rules, packet, time_us, hashed)
        return made
    accumulate.activity(flow, time_us, rules.activity_us)
    accumulate.follow(flow, packet, time_us, lane, rules.activity_us, False)
    closed = packet.flags & accumulate.RST or (flow.fins[FWD] > 0 and flow.fins[BWD] > 0)
    if closed or flow.state == CLOSING:
        move(table, index, CLOSING)
    else:
        refresh(table, rules, index)
    if rules.interim_us > 0 and time_us - flow.marked_us >= rules.interim_us:
        flow.marked_us = time_us
        made = _emit(table, rules, index, INTERIM, out, made)
    return made


@inlined
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
        remove(table, index)
        return made
    refresh(table, rules, index)
    return made


@inlined
def lane_of(flow, packet, cicflowmeter):
    same = packet.source_low == flow.source_low and packet.source_high == flow.source_high
    if cicflowmeter:  # the original looks at the address alone
        return FWD if same else BWD
    return FWD if same and packet.source_port == flow.source_port and packet.target_low == flow.target_low else BWD


@kernel
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
    flow.place = index
    slot = find(table, hashed, packet)
    table.slots[slot, 0] = index
    table.slots[slot, 1] = hash_tag(hashed)
    table.hashes[index] = hashed
    accumulate.clear(flow, rules.cicflowmeter)
    accumulate.begin(flow, packet, time_us, FWD, rules.cicflowmeter)
    reset = not rules.cicflowmeter and packet.flags & accumulate.RST
    append(table, index, CLOSING if reset else OPEN)


@kernel
def _restart(table, rules, index, packet, time_us, lane):
    """The same endpoints go on as a new flow that keeps its orientation."""
    flow = table.flows[index]
    accumulate.clear(flow, rules.cicflowmeter)
    accumulate.begin(flow, packet, time_us, lane, rules.cicflowmeter)
    move(table, index, OPEN)


@kernel
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


@inlined
def _due(table, rules):
    """The list whose head has outlived its time longest, or −1."""
    now = table.counts[NOW]
    closing, waiting = table.ends[CLOSING, 0], table.ends[OPEN, 0]
    closing_over = now - table.flows[closing].last_us - rules.linger_us if closing >= 0 else 0
    waiting_over = now - table.flows[waiting].last_us - rules.idle_us if waiting >= 0 else 0
    if closing_over > 0 and closing_over >= waiting_over:
        return CLOSING
    return OPEN if waiting_over > 0 else -1


@kernel
def _expire(table, rules, out, made):
    """Let flows go whose time is up, first due first; only list heads are looked at. Leaves room for two in `out`."""
    while made + 2 < len(out):
        which = _due(table, rules)
        if which < 0:
            break
        index = table.ends[which, 0]
        made = _emit(table, rules, index, CLOSED if which == CLOSING else IDLE_TIMEOUT, out, made)
        if rules.cicflowmeter:
            move(table, index, DORMANT)  # the original remembers the orientation
        else:
            remove(table, index)
    return made


@entry_kernel
def expire_flows(table, rules, out, made):
    return _expire(table, rules, out, made)


@kernel
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
    remove(table, index)
    return made


@entry_kernel
def drain_flows(table, rules, out):
    made = 0
    for which in (DORMANT, CLOSING, OPEN):
        while table.ends[which, 0] >= 0 and made < len(out):
            index = table.ends[which, 0]
            if which == CLOSING:
                made = _emit(table, rules, index, CLOSED, out, made)
            elif which == OPEN:
                made = _emit(table, rules, index, END_OF_INPUT, out, made)
            remove(table, index)
    return made
