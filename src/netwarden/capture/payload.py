"""The first payload bytes of each direction of a flow, for people who look at one; never features.

Off, none of this runs. On, packets are metered one by one, so that the bytes of each are laid down with the flow that
took it. Bytes stand in the order of their arrival: nothing is reassembled, and a retransmission counts again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from netwarden.capture.decode import link_payload, network, quotation, tunnel
from netwarden.capture.kernels import entry_kernel, kernel
from netwarden.capture.machine import lane_of, meter_packets
from netwarden.capture.pcap import Frames
from netwarden.capture.records import BWD, FWD
from netwarden.capture.slots import AFTER_FIN, find, flow_hash
from netwarden.errors import ConfigError
from netwarden.flows.table import FlowTable

MOST_PAYLOAD_BYTES = 1024  # of a direction
PAYLOAD_COLUMNS = {"fwd_payload": FWD, "bwd_payload": BWD}

_ICMP = 1
_MOST_LAYERS = 8


class Heads(NamedTuple):
    """Payload bytes, and how many of them count: of packets (packets, bytes) or flows (flows, directions, bytes)."""

    bytes: Any
    sizes: Any


class _Laid(NamedTuple):
    """What the packets of a batch carry, what their flows have so far, and what flows took along that have left."""

    carried: Heads
    kept: Heads
    gone: Heads


class PayloadHeads:
    """The first `most_bytes` of payload of each direction of the flows that a meter holds.

    `max_flows` and `batch_flows` are the meter's: memory is twice `most_bytes` for each.
    """

    def __init__(self, most_bytes: int, max_flows: int, batch_flows: int, *, inner: bool, original: bool) -> None:
        if not 1 <= most_bytes <= MOST_PAYLOAD_BYTES:
            raise ConfigError(f"{most_bytes} bytes of payload cannot be kept; choose 1 to {MOST_PAYLOAD_BYTES:,}")
        self._most_bytes, self._inner, self._original = most_bytes, inner, original
        self._open = _no_heads((max_flows, 2), most_bytes)
        self._out = _no_heads((batch_flows, 2), most_bytes)
        self._written = 0  # rows of `_out` that are up to date
        self._blocks: dict[int, tuple[Heads, int]] = {}  # first number → of one batch; how many are not metered yet
        self._noted = 0

    def note(self, frames: Frames, packets: Any) -> None:
        """Copy what decoded packets carry; their `frame` becomes the number under which it is found again."""
        heads = _no_heads((len(packets),), self._most_bytes)
        copy_heads(
            frames.buffer, frames.records, packets, heads, self._inner, self._original, np.empty(1, packets.dtype)
        )
        packets["frame"] = np.arange(self._noted, self._noted + len(packets))
        if len(packets):
            self._blocks[self._noted] = heads, len(packets)
        self._noted += len(packets)

    def metering(self, packets: Any) -> Callable[..., tuple[int, int]]:
        """A function like `meter_packets`, for these packets, that also lays down what they carry."""
        return partial(self._meter, self._take(packets["frame"]))

    def complete(self, records: Any) -> None:
        """Take the heads of the flows that have just left without a packet's doing; `records` are all to be handed out.

        Their places are not given away before the next packet.
        """
        places = records["place"][self._written :]
        for of_open, of_out in zip(self._open, self._out, strict=True):
            of_out[self._written : len(records)] = of_open[places]
        self._written = 0

    def columns(self, count: int) -> dict[str, Any]:
        """Arrow binary columns of the first `count` records that the meter handed out last."""
        out = self._out
        return {
            name: _binary(out.bytes[:count, lane], out.sizes[:count, lane]) for name, lane in PAYLOAD_COLUMNS.items()
        }

    def _meter(self, carried: Heads, table: Any, rules: Any, packets: Any, at: int, out: Any, made: int) -> Any:
        at, made = meter_and_keep(table, rules, packets, at, out, made, _Laid(carried, self._open, self._out))
        self._written = made
        return at, made

    def _take(self, numbers: Any) -> Heads:
        """Heads in the order of `numbers`; what no later packet can ask for is forgotten."""
        taken = _no_heads((len(numbers),), self._most_bytes)
        for first, (heads, left) in list(self._blocks.items()):
            rows = np.flatnonzero((numbers >= first) & (numbers < first + len(heads.sizes)))
            for of_taken, of_block in zip(taken, heads, strict=True):
                of_taken[rows] = of_block[numbers[rows] - first]
            self._blocks[first] = heads, left - len(rows)
            if left == len(rows):
                del self._blocks[first]
        return taken


def with_payload(table: FlowTable, heads: PayloadHeads) -> FlowTable:
    """A table of the records handed out last, with what they carried."""
    arrow = table.arrow
    for name, values in heads.columns(len(table)).items():
        arrow = arrow.append_column(name, values)
    return replace(table, arrow=arrow)


def _no_heads(shape: tuple[int, ...], most_bytes: int) -> Heads:
    return Heads(np.empty((*shape, most_bytes), np.uint8), np.zeros(shape, np.int64))


def _binary(heads: Any, sizes: Any) -> Any:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    data = heads[np.arange(heads.shape[1]) < sizes[:, None]]
    return pa.BinaryArray.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


# --- kernels ------------------------------------------------------------------------------------------------


@entry_kernel
def copy_heads(buffer, records, packets, heads, inner, quoted, scratch):
    """The first bytes behind the transport header of each decoded packet, as far as they were captured."""
    for i in range(len(packets)):
        record = records[packets[i].frame]
        end = record.offset + record.captured
        start, length = _transport(buffer, record.offset, end, record.link, scratch[0], inner, quoted)
        start += packets[i].header_bytes
        size = max(min(length - packets[i].header_bytes, end - start, heads.bytes.shape[1]), 0)
        for k in range(size):
            heads.bytes[i, k] = buffer[start + k]
        heads.sizes[i] = size


@kernel
def _transport(buffer, at, end, link, scratch, inner, quoted):
    """(offset, length by the IP header) of a decodable frame's transport: the steps of `decode`, which are written out
    there because a call costs it a tenth of its speed."""
    ether_type, at = link_payload(buffer, at, end, link)
    protocol, start, length = network(buffer, at, end, ether_type, scratch)
    if inner:
        for _ in range(_MOST_LAYERS):
            if scratch.fragment == 2:
                break
            ether_type, at = tunnel(buffer, protocol, start, end)
            if ether_type == 0:
                break
            deeper, deeper_start, deeper_length = network(buffer, at, end, ether_type, scratch)
            if deeper < 0:
                break
            protocol, start, length = deeper, deeper_start, deeper_length
    if quoted and protocol == _ICMP and scratch.version == 4:
        protocol, start, length = quotation(buffer, start, end, length)
    return start, length


@entry_kernel
def meter_and_keep(table, rules, packets, at, out, made, laid):
    """`meter_packets`, packet by packet: what one carries goes to its flow, and with flows that leave.

    A packet that opens a flow takes a place that another may just have left, so there the leaving comes first.
    """
    while at < len(packets):
        ignored, before = table.counts[AFTER_FIN], made
        taken, made = meter_packets(table, rules, packets[at : at + 1], 0, out, made)
        if taken == 0:
            _leave(out, before, made, laid)
            break
        packet = packets[at]
        place = table.slots[find(table, flow_hash(packet), packet), 0]
        opens = place >= 0 and table.flows[place].packets[FWD] + table.flows[place].packets[BWD] == 1
        if opens:
            _leave(out, before, made, laid)
            laid.kept.sizes[place, FWD] = 0
            laid.kept.sizes[place, BWD] = 0
        if table.counts[AFTER_FIN] == ignored and packet.payload_bytes > 0:
            if place >= 0:
                _append(laid, at, place, lane_of(table.flows[place], packet, rules.cicflowmeter))
            elif made > before:  # the packet has ended its flow, which is the last to leave
                last = out[made - 1]
                _append(laid, at, last.place, lane_of(last, packet, rules.cicflowmeter))
        if not opens:
            _leave(out, before, made, laid)
        at += 1
    return at, made


@kernel
def _append(laid, at, place, lane):
    have = laid.kept.sizes[place, lane]
    more = min(laid.carried.sizes[at], laid.kept.bytes.shape[2] - have)
    for k in range(more):
        laid.kept.bytes[place, lane, have + k] = laid.carried.bytes[at, k]
    laid.kept.sizes[place, lane] = have + max(more, 0)


@kernel
def _leave(out, start, end, laid):
    for row in range(start, end):
        place = out[row].place
        for lane in range(2):
            size = laid.kept.sizes[place, lane]
            laid.gone.sizes[row, lane] = size
            for k in range(size):
                laid.gone.bytes[row, lane, k] = laid.kept.bytes[place, lane, k]


PAYLOAD_KERNELS = (copy_heads, meter_and_keep)  # those that Python calls
