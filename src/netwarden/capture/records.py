"""Record layouts of the meter: what is kept of a packet, and what is accumulated of a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FWD, BWD = 0, 1  # index of a direction: fwd is the initiator's
NONE = np.int64(1) << 62  # «no value yet» of a minimum


@dataclass(frozen=True)
class Accumulator:
    """One exact integer that the meter keeps per flow; `lanes` 2 means one per direction (fwd, bwd)."""

    name: str
    lanes: int
    unit: str
    meaning: str


# The frame as the capture file holds it.
RECORD = np.dtype(
    [
        ("offset", "i8"),  # of the frame's first byte in the buffer
        ("captured", "i8"),  # bytes present
        ("time_ns", "i8"),  # UTC
        ("link", "i8"),  # link type of its interface
    ]
)

# One decoded packet.
PACKET = np.dtype(
    [
        ("time_ns", "i8"),
        ("source_high", "u8"),
        ("source_low", "u8"),
        ("target_high", "u8"),
        ("target_low", "u8"),
        ("source_port", "i8"),
        ("target_port", "i8"),
        ("protocol", "i8"),
        ("version", "i8"),  # 4 or 6
        ("payload_bytes", "i8"),
        ("header_bytes", "i8"),  # transport header
        ("flags", "i8"),  # TCP flags byte, 0 elsewhere
        ("window", "i8"),
        ("fragment", "i8"),  # 1: first of several, 2: a later one, which carries no ports
        ("fragment_id", "i8"),
        ("frame", "i8"),  # position of its frame in the batch
    ]
)

ACCUMULATORS: tuple[Accumulator, ...] = (
    Accumulator("start_ns", 1, "ns", "first packet, UTC"),
    Accumulator("start_us", 1, "us", "first packet"),
    Accumulator("last_us", 1, "us", "last packet, never before the one before it"),
    Accumulator("first_us", 2, "us", "first packet of the direction"),
    Accumulator("latest_us", 2, "us", "last packet of the direction"),
    Accumulator("packets", 2, "packets", "packets"),
    Accumulator("bytes", 2, "bytes", "payload bytes"),
    Accumulator("bytes_squared", 2, "bytes²", "sum of squared payload sizes"),
    Accumulator("bytes_min", 2, "bytes", "smallest payload"),
    Accumulator("bytes_max", 2, "bytes", "largest payload"),
    Accumulator("first_bytes", 1, "bytes", "payload of the first packet"),
    Accumulator("gap_squared", 1, "us²", "sum of squared gaps between packets"),
    Accumulator("gap_min", 1, "us", "smallest gap"),
    Accumulator("gap_max", 1, "us", "largest gap"),
    Accumulator("lane_gap_squared", 2, "us²", "sum of squared gaps in a direction"),
    Accumulator("lane_gap_min", 2, "us", "smallest gap in a direction"),
    Accumulator("lane_gap_max", 2, "us", "largest gap in a direction"),
    Accumulator("header_bytes", 2, "bytes", "transport header bytes"),
    Accumulator("segment_min", 1, "bytes", "smallest transport header of the fwd direction"),
    Accumulator("data_packets", 1, "packets", "fwd packets with payload"),
    Accumulator("window", 2, "bytes", "TCP window: first of the direction; in cicflowmeter mode the last of bwd"),
    Accumulator("flag_counts", 8, "packets", "packets with FIN, SYN, RST, PSH, ACK, URG, ECE, CWR"),
    Accumulator("pushes", 2, "packets", "packets with PSH"),
    Accumulator("urgents", 2, "packets", "packets with URG"),
    Accumulator("fins", 2, "packets", "packets with FIN"),
    Accumulator("subflows", 1, "", "gaps of more than a second"),
    Accumulator("active_start_us", 1, "us", "start of the present active period"),
    Accumulator("active_end_us", 1, "us", "end of the present active period"),
    Accumulator("actives", 1, "", "finished active periods"),
    Accumulator("active_sum", 1, "us", "their total length"),
    Accumulator("active_squared", 1, "us²", "their sum of squares"),
    Accumulator("active_min", 1, "us", "the shortest"),
    Accumulator("active_max", 1, "us", "the longest"),
    Accumulator("idles", 1, "", "idle periods"),
    Accumulator("idle_sum", 1, "us", "their total length"),
    Accumulator("idle_squared", 1, "us²", "their sum of squares"),
    Accumulator("idle_min", 1, "us", "the shortest"),
    Accumulator("idle_max", 1, "us", "the longest"),
    Accumulator("bulk_duration", 2, "us", "time spent in bulk transfers"),
    Accumulator("bulk_packets", 2, "packets", "packets in bulk transfers"),
    Accumulator("bulk_bytes", 2, "bytes", "bytes in bulk transfers"),
    Accumulator("bulks", 2, "", "bulk transfers: four or more packets with payload, no gap over a second"),
    Accumulator("run_packets", 2, "packets", "packets of the present run"),
    Accumulator("run_start_us", 2, "us", "start of the present run; 0: none"),
    Accumulator("run_bytes", 2, "bytes", "bytes of the present run"),
    Accumulator("run_last_us", 2, "us", "last packet of the present run"),
    Accumulator("source_high", 1, "", "initiator's address, upper half"),
    Accumulator("source_low", 1, "", "initiator's address, lower half"),
    Accumulator("target_high", 1, "", "responder's address, upper half"),
    Accumulator("target_low", 1, "", "responder's address, lower half"),
    Accumulator("source_port", 1, "", "initiator's port"),
    Accumulator("target_port", 1, "", "responder's port"),
    Accumulator("protocol", 1, "", "IP protocol number"),
    Accumulator("version", 1, "", "IP version"),
    Accumulator("place", 1, "", "its row in the table of open flows"),
    Accumulator("linked_us", 1, "us", "when it was last put at the end of its list"),
    Accumulator("state", 1, "", "OPEN, CLOSING or DORMANT: the list it is in"),
    Accumulator("ended_us", 1, "us", "when the meter knew that the flow was over: never falls from flow to flow"),
    Accumulator("ended_by", 1, "", "why the flow ended: see END_REASONS"),
    Accumulator("marked_us", 1, "us", "last interim record"),
)
OPEN, CLOSING, DORMANT = 0, 1, 2
END_OF_INPUT, CLOSED, IDLE_TIMEOUT, ACTIVE_TIMEOUT, TABLE_FULL, INTERIM = range(6)
END_REASONS = ("end_of_input", "closed", "idle_timeout", "active_timeout", "table_full", "interim")


def _flow_dtype() -> Any:
    unsigned = {"source_high", "source_low", "target_high", "target_low"}
    return np.dtype(
        [
            (a.name, "u8" if a.name in unsigned else "i8") if a.lanes == 1 else (a.name, "i8", (a.lanes,))
            for a in ACCUMULATORS
        ]
    )


FLOW = _flow_dtype()
