"""What one packet adds to its flow: small kernels over the FLOW record, exact integers only."""

from __future__ import annotations

from netwarden.capture.kernels import inlined
from netwarden.capture.records import BWD, FWD, NONE

_SECOND_US = 1_000_000
_BULK_PACKETS = 4
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


@inlined
def clear(flow, cicflowmeter):
    """Reset everything but the key."""
    flow.gap_squared = 0
    flow.gap_min = NONE
    flow.gap_max = -NONE
    flow.segment_min = NONE
    flow.data_packets = 0
    flow.first_bytes = 0
    flow.subflows = 0
    flow.actives = 0
    flow.active_sum = 0
    flow.active_squared = 0
    flow.active_min = NONE
    flow.active_max = 0
    flow.idles = 0
    flow.idle_sum = 0
    flow.idle_squared = 0
    flow.idle_min = NONE
    flow.idle_max = 0
    for bit in range(8):
        flow.flag_counts[bit] = 0
    for lane in range(2):
        flow.first_us[lane] = 0
        flow.latest_us[lane] = 0
        flow.packets[lane] = 0
        flow.bytes[lane] = 0
        flow.bytes_squared[lane] = 0
        flow.bytes_min[lane] = NONE
        flow.bytes_max[lane] = 0
        flow.lane_gap_squared[lane] = 0
        flow.lane_gap_min[lane] = NONE
        flow.lane_gap_max[lane] = -NONE
        flow.header_bytes[lane] = 0
        flow.window[lane] = 0 if cicflowmeter else -1
        flow.pushes[lane] = 0
        flow.urgents[lane] = 0
        flow.fins[lane] = 0
        flow.bulk_duration[lane] = 0
        flow.bulk_packets[lane] = 0
        flow.bulk_bytes[lane] = 0
        flow.bulks[lane] = 0
        flow.run_packets[lane] = 0
        flow.run_start_us[lane] = 0
        flow.run_bytes[lane] = 0
        flow.run_last_us[lane] = 0


@inlined
def begin(flow, packet, time_us, lane, cicflowmeter):
    """Make `packet` the first of a cleared flow."""
    flow.start_ns = packet.time_ns
    flow.start_us = time_us
    flow.last_us = time_us
    flow.active_start_us = time_us
    flow.active_end_us = time_us
    flow.marked_us = time_us
    flow.first_bytes = packet.payload_bytes
    _bulk(flow, packet.payload_bytes, time_us, lane, cicflowmeter)
    _flags(flow, packet.flags)
    _sizes(flow, packet, time_us, lane)
    flow.window[lane] = packet.window
    flow.pushes[lane] = (packet.flags >> 3) & 1
    flow.urgents[lane] = (packet.flags >> 5) & 1
    if not cicflowmeter:
        flow.fins[lane] = packet.flags & 1
        if lane == FWD and packet.payload_bytes > 0:
            flow.data_packets = 1


@inlined
def follow(flow, packet, time_us, lane, activity_us, cicflowmeter):
    """Add a later packet."""
    _bulk(flow, packet.payload_bytes, time_us, lane, cicflowmeter)
    gap = time_us - flow.last_us
    if gap > _SECOND_US:
        flow.subflows += 1
        activity(flow, time_us, activity_us)
    _flags(flow, packet.flags)
    flow.gap_squared += gap * gap
    flow.gap_min = min(flow.gap_min, gap)
    flow.gap_max = max(flow.gap_max, gap)
    flow.last_us = time_us
    if flow.packets[lane] > 0:
        lane_gap = time_us - flow.latest_us[lane]
        flow.lane_gap_squared[lane] += lane_gap * lane_gap
        flow.lane_gap_min[lane] = min(flow.lane_gap_min[lane], lane_gap)
        flow.lane_gap_max[lane] = max(flow.lane_gap_max[lane], lane_gap)
    if lane == FWD and packet.payload_bytes > 0:
        flow.data_packets += 1
    if cicflowmeter:
        if lane == BWD:
            flow.window[lane] = packet.window
    else:
        if flow.window[lane] < 0:
            flow.window[lane] = packet.window
        flow.pushes[lane] += (packet.flags >> 3) & 1
        flow.urgents[lane] += (packet.flags >> 5) & 1
        flow.fins[lane] += packet.flags & 1
    _sizes(flow, packet, time_us, lane)


@inlined
def activity(flow, time_us, activity_us):
    """Close the active period where the silence before this packet was long enough, else extend it."""
    silence = time_us - flow.active_end_us
    if silence > activity_us:
        finish_activity(flow)
        flow.idles += 1
        flow.idle_sum += silence
        flow.idle_squared += silence * silence
        flow.idle_min = min(flow.idle_min, silence)
        flow.idle_max = max(flow.idle_max, silence)
        flow.active_start_us = time_us
    flow.active_end_us = time_us


@inlined
def finish_activity(flow):
    """Record the present active period, if it has a length."""
    length = flow.active_end_us - flow.active_start_us
    if length > 0:
        flow.actives += 1
        flow.active_sum += length
        flow.active_squared += length * length
        flow.active_min = min(flow.active_min, length)
        flow.active_max = max(flow.active_max, length)


@inlined
def _sizes(flow, packet, time_us, lane):
    size = packet.payload_bytes
    if flow.packets[lane] == 0:
        flow.first_us[lane] = time_us
    flow.latest_us[lane] = time_us
    flow.packets[lane] += 1
    flow.bytes[lane] += size
    flow.bytes_squared[lane] += size * size
    flow.bytes_min[lane] = min(flow.bytes_min[lane], size)
    flow.bytes_max[lane] = max(flow.bytes_max[lane], size)
    flow.header_bytes[lane] += packet.header_bytes
    if lane == FWD:
        flow.segment_min = min(flow.segment_min, packet.header_bytes)


@inlined
def _flags(flow, flags):
    if flags:
        for bit in range(8):
            flow.flag_counts[bit] += (flags >> bit) & 1


@inlined
def _bulk(flow, size, time_us, lane, cicflowmeter):
    """Bulk transfers: runs of packets with payload in one direction, not interrupted by payload of the other.

    The original counts both directions as backward, and so never sees an interruption.
    """
    lane = BWD if cicflowmeter else lane
    if not cicflowmeter and flow.run_last_us[1 - lane] > flow.run_start_us[lane]:
        flow.run_start_us[lane] = 0
    if size <= 0:
        return
    if flow.run_start_us[lane] == 0 or time_us - flow.run_last_us[lane] > _SECOND_US:
        flow.run_start_us[lane] = time_us
        flow.run_packets[lane] = 1
        flow.run_bytes[lane] = size
    else:
        flow.run_packets[lane] += 1
        flow.run_bytes[lane] += size
        if flow.run_packets[lane] == _BULK_PACKETS:
            flow.bulks[lane] += 1
            flow.bulk_packets[lane] += _BULK_PACKETS
            flow.bulk_bytes[lane] += flow.run_bytes[lane]
            flow.bulk_duration[lane] += time_us - flow.run_start_us[lane]
        elif flow.run_packets[lane] > _BULK_PACKETS:
            flow.bulk_packets[lane] += 1
            flow.bulk_bytes[lane] += size
            flow.bulk_duration[lane] += time_us - flow.run_last_us[lane]
    flow.run_last_us[lane] = time_us
