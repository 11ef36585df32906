"""The open flows: a hash table without tombstones, and three lists ordered by the flows' last packets.

Every look-up, move and removal costs the same however many flows there are; nothing is ever swept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netwarden.capture.kernels import inlined, kernel
from netwarden.capture.records import FLOW, OPEN

COUNTS = ("live", "now_us", "late", "evicted", "single_packet", "after_fin", "not_ipv4", "packets", "fragments_joined")
(LIVE, NOW, LATE, EVICTED, SINGLE, AFTER_FIN, NOT_IPV4, PACKETS, JOINED) = range(len(COUNTS))
_FRAGMENTS = 4096
_FRAGMENT_TTL_US = 30_000_000
_FRAGMENT = np.dtype([("key", "u8"), ("time_us", "i8"), ("source_port", "i8"), ("target_port", "i8"), ("used", "i8")])


class Table(NamedTuple):
    """All that the meter holds; every array keeps its size."""

    slots: Any  # int32 (2ⁿ, 2): flow index or −1, tag of its hash
    flows: Any  # FLOW (max_flows)
    hashes: Any  # uint64 (max_flows)
    links: Any  # int32 (max_flows, 2): neighbours in its list
    ends: Any  # int32 (3, 2): head and tail of each list, −1 where empty
    free: Any  # int32 (max_flows): stack of unused flow indices
    counts: Any  # int64: see COUNTS
    fragments: Any  # ports of recent first fragments


def empty_table(max_flows: int) -> Table:
    """A table for at most `max_flows` flows at once."""
    slots = 1 << max(4, int(2 * max_flows - 1).bit_length())
    return Table(
        slots=np.full((slots, 2), -1, np.int32),
        flows=np.zeros(max_flows, FLOW),
        hashes=np.zeros(max_flows, np.uint64),
        links=np.full((max_flows, 2), -1, np.int32),
        ends=np.full((3, 2), -1, np.int32),
        free=np.arange(max_flows - 1, -1, -1, dtype=np.int32),
        counts=np.zeros(len(COUNTS), np.int64),
        fragments=np.zeros(_FRAGMENTS, _FRAGMENT),
    )


@inlined
def mix(value):
    """64 bits, each depending on all of `value`: xor-shift and multiply, twice."""
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    value ^= value >> np.uint64(32)
    value *= np.uint64(0xD6E8FEB86659FD93)
    return value ^ (value >> np.uint64(32))


@inlined
def flow_hash(packet):
    """Equal for both directions."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    source = mix(packet.source_low * odd ^ packet.source_high + np.uint64(packet.source_port))
    target = mix(packet.target_low * odd ^ packet.target_high + np.uint64(packet.target_port))
    return mix(source + target + np.uint64(packet.protocol))


@inlined
def hash_tag(hashed):
    return np.int32(np.uint32(hashed >> np.uint64(32)))


@inlined
def find(table, hashed, packet):
    """Slot of the packet's flow, or the empty slot where it would go."""
    mask = np.int64(len(table.slots) - 1)
    slot = np.int64(hashed & np.uint64(mask))
    tag = hash_tag(hashed)
    while True:
        index = table.slots[slot, 0]
        if index < 0 or (table.slots[slot, 1] == tag and _same(table.flows[index], packet)):
            return slot
        slot = (slot + 1) & mask


@inlined
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


@kernel
def remove(table, index):
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


@inlined
def refresh(table, rules, index):
    """Put an open flow at the end of its list, at most once per hundredth of the timeout: relinking costs more than
    all the sums, and that much disorder only delays an expiry by as much."""
    flow = table.flows[index]
    if flow.last_us - flow.linked_us > rules.idle_us // 128:
        move(table, index, OPEN)


@kernel
def move(table, index, which):
    """Put a flow at the end of a list."""
    _unlink(table, index)
    append(table, index, which)


@inlined
def append(table, index, which):
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


@inlined
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


@kernel
def join_fragment(table, packet, time_us):
    """Remember the ports of a first fragment; give them to the later ones of the same datagram."""
    odd = np.uint64(0x9E3779B97F4A7C15)
    key = mix(packet.source_low * odd + packet.source_high)
    key = mix(key ^ (packet.target_low * odd + packet.target_high))
    key = mix(key ^ (np.uint64(packet.fragment_id) << np.uint64(8)) ^ np.uint64(packet.protocol))
    entry = table.fragments[np.int64(key & np.uint64(_FRAGMENTS - 1))]
    if packet.fragment == 1:
        entry.key, entry.time_us, entry.used = key, time_us, 1
        entry.source_port, entry.target_port = packet.source_port, packet.target_port
    elif entry.used and entry.key == key and abs(time_us - entry.time_us) <= _FRAGMENT_TTL_US:
        packet.source_port, packet.target_port = entry.source_port, entry.target_port
        table.counts[JOINED] += 1
