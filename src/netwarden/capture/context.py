"""What the endpoints of a flow did lately: windowed counts of its source, its target and the pair.

Slow scans, brute force and beacons cannot be seen one flow at a time. Each flow is counted when the meter knows that it
is over, and reads its context right then, itself included; so offline and live give the same values. Memory is bounded:
each table is a 4-way cache that lets its longest unused entry go, and distinct counts are estimates by linear counting
(Whang, Vander-Zanden and Taylor 1990) over 256 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netwarden.capture.kernels import entry_kernel, inlined, kernel
from netwarden.capture.records import BWD, FWD, INTERIM
from netwarden.capture.slots import mix

WINDOWS = (("10s", 10_000_000), ("30m", 1_800_000_000))  # name, length in us
_KINDS = ("source", "target", "pair")
_COUNTS = ("flows", "failed", "out_bytes", "in_bytes")
_DISTINCT = ("ports", "peers")

_BUCKETS = 4  # a window is the present quarter and the three before it
_WORDS = 4  # 256 bits per distinct count and bucket
_BITS = 64 * _WORDS
_WAYS = 4
_ESTIMATES = np.rint(_BITS * np.log(_BITS / np.maximum(np.arange(_BITS + 1), 1)))  # by bits that are not set
_GAP_WEIGHT = 0.2  # of the newest gap in the running mean and spread

_WINDOW = [
    ("newest", "i8"),  # number of the newest bucket
    ("counts", "i8", (_BUCKETS, len(_COUNTS))),
    ("seen", "u8", (_BUCKETS, len(_DISTINCT), _WORDS)),
]
ENTRY = np.dtype(
    [
        ("key", "u8"),
        ("used_us", "i8"),
        ("short", _WINDOW),
        ("long", _WINDOW),
        ("last_start_us", "i8"),
        ("gap_mean_us", "f8"),
        ("gap_variance", "f8"),
        ("gaps", "i8"),
    ]
)

CONTEXT_NAMES: tuple[str, ...] = (
    *(
        f"{kind}_{what}_{window}"
        for kind in _KINDS
        for window, _ in WINDOWS
        for what in (*_COUNTS, *_DISTINCT)
        if not (kind == "pair" and what == "peers")
    ),
    "pair_start_gap_us",
    "pair_start_irregularity",
)


class ContextTables(NamedTuple):
    """One table per kind; 2D (sets, ways)."""

    source: Any
    target: Any
    pair: Any


def empty_tables(entries: int = 16_384) -> ContextTables:
    """Tables for about `entries` sources, targets and pairs each (some 0.9 kB an entry)."""
    sets = 1 << max(0, (entries // _WAYS - 1).bit_length())
    return ContextTables(*(np.zeros((sets, _WAYS), ENTRY) for _ in _KINDS))


def context(tables: ContextTables, flows: Any) -> dict[str, Any]:
    """Context of FLOW records in the order in which they ended, by name: float64 arrays, one value per flow.

    Counts the flows in; interim records read only.
    """
    out = np.zeros((len(CONTEXT_NAMES), len(flows)), np.float64)
    observe(tables.source, tables.target, tables.pair, flows, out)
    return dict(zip(CONTEXT_NAMES, out, strict=True))


_SHORT_US = WINDOWS[0][1] // _BUCKETS
_LONG_US = WINDOWS[1][1] // _BUCKETS


@entry_kernel
def observe(sources, targets, pairs, flows, out):
    for i in range(len(flows)):
        flow = flows[i]
        source = mix(flow.source_high + np.uint64(1)) ^ mix(flow.source_low)
        target = mix(flow.target_high + np.uint64(1)) ^ mix(flow.target_low)
        port = mix(np.uint64(flow.target_port) ^ (np.uint64(flow.protocol) << np.uint64(16)))
        row = out[:, i]
        at = _count(_entry(sources, source, flow.ended_us), flow, port, target, 2, row, 0)
        at = _count(_entry(targets, target, flow.ended_us), flow, port, source, 2, row, at)
        pair = _entry(pairs, mix(source + mix(target)), flow.ended_us)
        at = _count(pair, flow, port, port, 1, row, at)
        _rhythm(pair, flow, row, at)


@kernel
def _entry(table, key, now_us):
    """The key's entry, taking the place of its set's longest unused one if it is new."""
    ways = table[np.int64(key & np.uint64(len(table) - 1))]
    oldest = 0
    for way in range(_WAYS):
        if ways[way].used_us > 0 and ways[way].key == key:
            ways[way].used_us = now_us
            return ways[way]
        if ways[way].used_us < ways[oldest].used_us:
            oldest = way
    entry = ways[oldest]
    entry.key = key
    entry.used_us = now_us
    entry.last_start_us = 0
    entry.gap_mean_us = 0.0
    entry.gap_variance = 0.0
    entry.gaps = 0
    _empty(entry.short)
    _empty(entry.long)
    return entry


@inlined
def _empty(window):
    window.newest = 0
    for bucket in range(_BUCKETS):
        _empty_bucket(window, bucket)


@inlined
def _empty_bucket(window, bucket):
    for what in range(4):
        window.counts[bucket, what] = 0
    for what in range(2):
        for word in range(_WORDS):
            window.seen[bucket, what, word] = np.uint64(0)


@kernel
def _count(entry, flow, port, peer, distinct, row, at):
    """Add a flow to both windows of an entry and write what they then hold; returns the next column."""
    at = _window(entry.short, _SHORT_US, flow, port, peer, distinct, row, at)
    return _window(entry.long, _LONG_US, flow, port, peer, distinct, row, at)


@kernel
def _window(window, bucket_us, flow, port, peer, distinct, row, at):
    number = flow.ended_us // bucket_us
    for late in range(min(number - window.newest, _BUCKETS)):  # buckets begun since are empty
        _empty_bucket(window, (number - late) % _BUCKETS)
    window.newest = max(window.newest, number)
    if flow.ended_by != INTERIM:
        bucket = window.newest % _BUCKETS
        window.counts[bucket, 0] += 1
        window.counts[bucket, 1] += _failed(flow)
        window.counts[bucket, 2] += flow.bytes[FWD]
        window.counts[bucket, 3] += flow.bytes[BWD]
        _mark(window, bucket, 0, port)
        _mark(window, bucket, 1, peer)
    for what in range(4):
        total = 0
        for bucket in range(_BUCKETS):
            total += window.counts[bucket, what]
        row[at] = total
        at += 1
    for what in range(distinct):
        row[at] = _distinct(window, what)
        at += 1
    return at


@inlined
def _failed(flow):
    """1 for a TCP flow that opened with SYN and got no answer, or was refused before any payload."""
    if flow.protocol != 6 or flow.flag_counts[1] == 0:
        return 0
    unanswered = flow.packets[BWD] == 0
    refused = flow.flag_counts[2] > 0 and flow.bytes[FWD] + flow.bytes[BWD] == 0
    return 1 if unanswered or refused else 0


@inlined
def _mark(window, bucket, what, value):
    bit = mix(value) & np.uint64(_BITS - 1)
    window.seen[bucket, what, bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@inlined
def _distinct(window, what):
    """Estimate of how many different values were marked in any bucket."""
    unset = 0
    for word in range(_WORDS):
        bits = np.uint64(0)
        for bucket in range(_BUCKETS):
            bits |= window.seen[bucket, what, word]
        unset += 64 - _population(bits)
    return _ESTIMATES[unset]


@inlined
def _population(bits):
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inlined
def _rhythm(entry, flow, row, at):
    """Mean gap between the starts of the pair's flows, and its spread over the mean: near 0 for a beacon."""
    if flow.ended_by != INTERIM:
        if entry.last_start_us > 0 and flow.start_us > entry.last_start_us:
            gap = np.float64(flow.start_us - entry.last_start_us)
            entry.gaps += 1
            weight = max(_GAP_WEIGHT, 1.0 / entry.gaps)
            change = gap - entry.gap_mean_us
            entry.gap_mean_us += weight * change
            entry.gap_variance = (1.0 - weight) * (entry.gap_variance + weight * change * change)
        entry.last_start_us = max(entry.last_start_us, flow.start_us)
    row[at] = entry.gap_mean_us
    row[at + 1] = np.sqrt(entry.gap_variance) / entry.gap_mean_us if entry.gaps > 1 else -1.0
