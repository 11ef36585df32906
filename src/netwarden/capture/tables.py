"""Flow records to flow tables: addresses, ids and times beside the features."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from netwarden.capture.columns import features
from netwarden.capture.decode import ICMP_ANSWERS
from netwarden.capture.definitions import FEATURES
from netwarden.capture.meter import METER_VERSION, MeterMode
from netwarden.capture.records import END_REASONS
from netwarden.flows.table import FlowTable, MeterStamp, flow_id

SCHEMA_IDS: dict[MeterMode, str] = {"corrected": "netwarden_flow", "cicflowmeter": "cic_flow"}
_UNSET = -1  # a window or a rhythm that was never seen
_MAY_BE_UNSET = frozenset({"fwd_init_window_bytes", "bwd_init_window_bytes", "pair_start_irregularity"})
_TCP, _UDP, _SCTP, _ICMP, _ICMP6 = 6, 17, 132, 1, 58


def flow_table(records: Any, mode: MeterMode, *, sensor: str = "", context: dict[str, Any] | None = None) -> FlowTable:
    """FLOW records as a table of the mode's schema: ids, endpoints, start, why each flow ended, features.

    `context` adds the columns of capture.context, which schema netwarden_flow has. Null: rates of flows without
    duration, windows and rhythms never seen.
    """
    endpoints = _endpoints(records)
    measured = features(records, mode == "cicflowmeter")
    columns: dict[str, Any] = {
        **endpoints,
        "started_at": pa.array(records["start_ns"] // 1000, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        "ended_by": pa.DictionaryArray.from_arrays(pa.array(records["ended_by"], pa.int32()), list(END_REASONS)).cast(
            pa.string()
        ),
        "meter_version": pa.repeat(pa.scalar(METER_VERSION), len(records)),
        **{feature.name: _observed(feature.name, measured[feature.name]) for feature in FEATURES},
        **{name: _observed(name, values) for name, values in (context or {}).items()},
    }
    ids = _ids(records, endpoints, sensor)
    return FlowTable(pa.table({**ids, **columns}), SCHEMA_IDS[mode], MeterStamp(mode, METER_VERSION))


def _observed(name: str, values: Any) -> Any:
    """Values as the schema has them: null where the meter saw none."""
    if name in _MAY_BE_UNSET:
        return pa.array(values, mask=values == _UNSET)
    if values.dtype != np.float64:
        return pa.array(values)
    return pa.array(values, mask=~np.isfinite(values))


def _endpoints(records: Any) -> dict[str, Any]:
    return {
        "src_ip": _addresses(records, "source"),
        "src_port": pa.array(records["source_port"]),
        "dst_ip": _addresses(records, "target"),
        "dst_port": pa.array(records["target_port"]),
        "protocol": pa.array(records["protocol"]),
    }


_OCTETS = pa.array([str(octet) for octet in range(256)])


def _addresses(records: Any, which: str) -> Any:
    """Addresses as text: IPv4 by table look-up, the rarer IPv6 one by one."""
    low = records[f"{which}_low"]
    parts = [
        _OCTETS.take(pa.array(((low >> np.uint64(shift)) & np.uint64(255)).astype(np.int32)))
        for shift in (24, 16, 8, 0)
    ]
    texts = pc.binary_join_element_wise(*parts, ".")
    sixes = np.flatnonzero(records["version"] == 6)
    if not len(sixes):
        return texts
    high = records[f"{which}_high"]
    values = [str(ipaddress.IPv6Address((int(high[row]) << 64) | int(low[row]))) for row in sixes]
    return pc.replace_with_mask(texts, pa.array(records["version"] == 6), pa.array(values, pa.string()))


def _ids(records: Any, endpoints: dict[str, Any], sensor: str) -> dict[str, Any]:
    sources, targets = endpoints["src_ip"].to_pylist(), endpoints["dst_ip"].to_pylist()
    numbers = [records[name].tolist() for name in ("source_port", "target_port", "protocol", "start_ns")]
    flow_ids = [
        flow_id(sensor, (source, source_port, target, target_port), protocol, start_ns)
        for source, target, source_port, target_port, protocol, start_ns in zip(sources, targets, *numbers, strict=True)
    ]
    return {"flow_id": pa.array(flow_ids, pa.string()), "community_id": pa.array(_community_ids(records), pa.string())}


def _community_ids(records: Any) -> list[str]:
    """Community ID v1 (github.com/corelight/community-id-spec) per flow."""
    names = (
        "version",
        "source_high",
        "source_low",
        "target_high",
        "target_low",
        "source_port",
        "target_port",
        "protocol",
    )
    return [community_id(*row) for row in zip(*(records[name].tolist() for name in names), strict=True)]


def community_id(
    version: int,
    source_high: int,
    source_low: int,
    target_high: int,
    target_low: int,
    source_port: int,
    target_port: int,
    protocol: int,
    seed: int = 0,
) -> str:
    """Community ID v1 of a flow: the same for both directions, and the same that Zeek and Suricata give."""
    if version == 4:
        source, target = source_low.to_bytes(4, "big"), target_low.to_bytes(4, "big")
    else:
        source = source_high.to_bytes(8, "big") + source_low.to_bytes(8, "big")
        target = target_high.to_bytes(8, "big") + target_low.to_bytes(8, "big")
    ports = (source_port, target_port)
    one_way = protocol in (_ICMP, _ICMP6) and ICMP_ANSWERS[int(protocol == _ICMP6), source_port] < 0
    if (source, ports[0]) > (target, ports[1]) and not one_way:
        source, target, ports = target, source, ports[::-1]
    text = struct.pack("!H", seed) + source + target + bytes((protocol, 0))
    if protocol in (_TCP, _UDP, _SCTP, _ICMP, _ICMP6):
        text += struct.pack("!HH", *ports)
    return "1:" + base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()
