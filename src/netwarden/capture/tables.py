"""Flow records to flow tables: addresses, ids and times beside the features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from netwarden.capture.columns import features
from netwarden.capture.definitions import FEATURES
from netwarden.capture.identity import endpoint_addresses, flow_names
from netwarden.capture.meter import METER_VERSION, MeterMode
from netwarden.capture.records import END_REASONS
from netwarden.flows.table import FlowTable, MeterStamp

SCHEMA_IDS: dict[MeterMode, str] = {"corrected": "netwarden_flow", "cicflowmeter": "cic_flow"}
_UNSET = -1  # a window or a rhythm that was never seen
_MAY_BE_UNSET = frozenset({"fwd_init_window_bytes", "bwd_init_window_bytes", "pair_start_irregularity"})
_MAY_BE_UNDEFINED = frozenset({"flow_bytes_per_s", "flow_packets_per_s"})  # over no time


def flow_table(records: Any, mode: MeterMode, *, sensor: str = "", context: dict[str, Any] | None = None) -> FlowTable:
    """FLOW records as a table of the mode's schema: ids, endpoints, start, why each flow ended, features.

    `context` adds the columns of capture.context, which schema netwarden_flow has. Null: rates of flows without
    duration, windows and rhythms never seen.
    """
    flow_ids, community_ids = flow_names(records, sensor)
    sources, targets = endpoint_addresses(records)
    measured = features(records, mode == "cicflowmeter")
    columns: dict[str, Any] = {
        "flow_id": flow_ids,
        "community_id": community_ids,
        "src_ip": sources,
        "src_port": pa.array(records["source_port"]),
        "dst_ip": targets,
        "dst_port": pa.array(records["target_port"]),
        "protocol": pa.array(records["protocol"]),
        "started_at": pa.array(records["start_ns"] // 1000, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        "ended_by": pa.DictionaryArray.from_arrays(pa.array(records["ended_by"], pa.int32()), list(END_REASONS)).cast(
            pa.string()
        ),
        "meter_version": pa.repeat(pa.scalar(METER_VERSION), len(records)),
        **{feature.name: _observed(feature.name, measured[feature.name]) for feature in FEATURES},
        **{name: _observed(name, values) for name, values in (context or {}).items()},
    }
    return FlowTable(pa.table(columns), SCHEMA_IDS[mode], MeterStamp(mode, METER_VERSION))


def _observed(name: str, values: Any) -> Any:
    """Values as the schema has them: null where the meter saw none."""
    if name in _MAY_BE_UNSET:
        return pa.array(values, mask=values == _UNSET)
    if name in _MAY_BE_UNDEFINED:
        return pa.array(values, mask=~np.isfinite(values))
    return pa.array(values)
