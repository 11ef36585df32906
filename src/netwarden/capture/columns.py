"""Accumulators to features: one vectorised step over ended flows.

Exactness: sums and sums of squares are 64-bit integers; a variance shifts them by the integer mean before its one
floating-point step, so nothing cancels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netwarden.capture.records import ACCUMULATORS, BWD, FLOW, FWD

_LANES = (("fwd", FWD), ("bwd", BWD))
_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")


def features(records: Any, cicflowmeter: bool) -> dict[str, Any]:
    """The 76 features of FLOW records by canonical name: int64 or float64 arrays, one value per flow."""
    flows = _by_column(records)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **_volume(flows),
            **_rates(flows),
            **_gaps(flows),
            **_headers(flows),
            **_lengths(flows, cicflowmeter),
            **_flag_counts(flows),
            **_bulks(flows, cicflowmeter),
            **_subflows(flows, cicflowmeter),
            **_windows(flows),
            **_periods(flows),
        }


def _by_column(records: Any) -> dict[str, Any]:
    """Accumulators as contiguous columns, (flows,) or (flows, lanes): one transposition, then every sum runs fast."""
    words = np.ascontiguousarray(records.view(np.int64).reshape(len(records), FLOW.itemsize // 8).T)
    columns, at = {}, 0
    for accumulator in ACCUMULATORS:
        block = words[at : at + accumulator.lanes]
        columns[accumulator.name] = block[0] if accumulator.lanes == 1 else block.T
        at += accumulator.lanes
    return columns


def _volume(flows: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"flow_duration_us": _duration(flows)}
    for name, lane in _LANES:
        count, total = flows["packets"][:, lane], flows["bytes"][:, lane]
        out[f"{name}_packets"] = count
        out[f"{name}_bytes"] = total
        out[f"{name}_packet_bytes_max"] = flows["bytes_max"][:, lane]
        out[f"{name}_packet_bytes_min"] = np.where(count > 0, flows["bytes_min"][:, lane], 0)
        out[f"{name}_packet_bytes_mean"] = _mean(total, count)
        out[f"{name}_packet_bytes_std"] = np.sqrt(_variance(count, total, flows["bytes_squared"][:, lane]))
    return out


def _rates(flows: Any) -> dict[str, Any]:
    """Per second of duration; the whole flow's are infinite or undefined (0/0) where the duration is 0."""
    seconds = _duration(flows) / 1e6
    moving = seconds > 0
    count = flows["packets"].sum(axis=1)
    return {
        "flow_bytes_per_s": flows["bytes"].sum(axis=1) / seconds,
        "flow_packets_per_s": count / seconds,
        "fwd_packets_per_s": np.where(moving, flows["packets"][:, FWD] / seconds, 0.0),
        "bwd_packets_per_s": np.where(moving, flows["packets"][:, BWD] / seconds, 0.0),
    }


def _gaps(flows: Any) -> dict[str, Any]:
    duration, gaps = _duration(flows), flows["packets"].sum(axis=1) - 1
    several = gaps > 0
    out: dict[str, Any] = {
        "flow_iat_mean_us": _mean(duration, gaps),
        "flow_iat_std_us": np.sqrt(_variance(gaps, duration, flows["gap_squared"])),
        "flow_iat_max_us": np.where(several, flows["gap_max"], 0),
        "flow_iat_min_us": np.where(several, flows["gap_min"], 0),
    }
    for name, lane in _LANES:
        gaps = flows["packets"][:, lane] - 1
        several = gaps > 0
        total = np.where(several, flows["latest_us"][:, lane] - flows["first_us"][:, lane], 0)
        out[f"{name}_iat_total_us"] = total
        out[f"{name}_iat_mean_us"] = _mean(total, gaps)
        out[f"{name}_iat_std_us"] = np.sqrt(_variance(gaps, total, flows["lane_gap_squared"][:, lane]))
        out[f"{name}_iat_max_us"] = np.where(several, flows["lane_gap_max"][:, lane], 0)
        out[f"{name}_iat_min_us"] = np.where(several, flows["lane_gap_min"][:, lane], 0)
    return out


def _headers(flows: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, lane in _LANES:
        out[f"{name}_psh_flags"] = flows["pushes"][:, lane]
        out[f"{name}_urg_flags"] = flows["urgents"][:, lane]
        out[f"{name}_header_bytes"] = flows["header_bytes"][:, lane]
    return out


def _lengths(flows: Any, cicflowmeter: bool) -> dict[str, Any]:
    """Payload sizes of both directions; the original counts the first packet twice."""
    count = flows["packets"].sum(axis=1)
    twice = flows["first_bytes"] if cicflowmeter else np.zeros_like(count)
    weighed = count + 1 if cicflowmeter else count
    total = flows["bytes"].sum(axis=1) + twice
    variance = _variance(weighed, total, flows["bytes_squared"].sum(axis=1) + twice * twice)
    return {
        "packet_bytes_min": flows["bytes_min"].min(axis=1),
        "packet_bytes_max": flows["bytes_max"].max(axis=1),
        "packet_bytes_mean": total / weighed,
        "packet_bytes_std": np.sqrt(variance),
        "packet_bytes_variance": variance,
        "packet_bytes_average": total / count,
        "fwd_segment_bytes_mean": _mean(flows["bytes"][:, FWD], flows["packets"][:, FWD]),
        "bwd_segment_bytes_mean": _mean(flows["bytes"][:, BWD], flows["packets"][:, BWD]),
    }


def _flag_counts(flows: Any) -> dict[str, Any]:
    return {f"{name}_packets": flows["flag_counts"][:, bit] for bit, name in enumerate(_FLAGS)}


def _bulks(flows: Any, cicflowmeter: bool) -> dict[str, Any]:
    """Means per bulk; the original divides integers, and truncates the rate."""
    out: dict[str, Any] = {}
    for name, lane in _LANES:
        bulks, seconds = flows["bulks"][:, lane], flows["bulk_duration"][:, lane] / 1e6
        rate = np.where(seconds > 0, flows["bulk_bytes"][:, lane] / seconds, 0.0)
        out[f"{name}_bulk_bytes_mean"] = _ratio(flows["bulk_bytes"][:, lane], bulks, cicflowmeter)
        out[f"{name}_bulk_packets_mean"] = _ratio(flows["bulk_packets"][:, lane], bulks, cicflowmeter)
        out[f"{name}_bulk_bytes_per_s"] = np.trunc(rate) if cicflowmeter else rate
    return out


def _subflows(flows: Any, cicflowmeter: bool) -> dict[str, Any]:
    """Means per subflow. A gap over a second starts a subflow; the original counts gaps, not subflows."""
    subflows = flows["subflows"] if cicflowmeter else flows["subflows"] + 1
    out: dict[str, Any] = {"down_up_ratio": _ratio(flows["packets"][:, BWD], flows["packets"][:, FWD], cicflowmeter)}
    for name, lane in _LANES:
        out[f"subflow_{name}_packets"] = _ratio(flows["packets"][:, lane], subflows, cicflowmeter)
        out[f"subflow_{name}_bytes"] = _ratio(flows["bytes"][:, lane], subflows, cicflowmeter)
    return out


def _windows(flows: Any) -> dict[str, Any]:
    return {
        "fwd_init_window_bytes": flows["window"][:, FWD],
        "bwd_init_window_bytes": flows["window"][:, BWD],
        "fwd_data_packets": flows["data_packets"],
        "fwd_header_bytes_min": np.where(flows["packets"][:, FWD] > 0, flows["segment_min"], 0),
    }


def _periods(flows: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("active", "idle"):
        count, total = flows[f"{name}s"], flows[f"{name}_sum"]
        out[f"{name}_mean_us"] = _mean(total, count)
        out[f"{name}_std_us"] = np.sqrt(_variance(count, total, flows[f"{name}_squared"]))
        out[f"{name}_max_us"] = flows[f"{name}_max"]
        out[f"{name}_min_us"] = np.where(count > 0, flows[f"{name}_min"], 0)
    return out


def _duration(flows: Any) -> Any:
    return flows["last_us"] - flows["start_us"]


def _mean(total: Any, count: Any) -> Any:
    return np.where(count > 0, total / np.maximum(count, 1), 0.0)


def _ratio(total: Any, count: Any, whole: bool) -> Any:
    """total / count, 0 where count is 0; `whole`: rounded down, as integer division does."""
    divided = total // np.maximum(count, 1) if whole else total / np.maximum(count, 1)
    return np.where(count > 0, divided, 0.0)


def _variance(count: Any, total: Any, squares: Any) -> Any:
    """Sample variance from exact integer sums, 0 for fewer than two values."""
    some = np.maximum(count, 1)
    centre = total // some
    rest = total - centre * some
    shifted = squares - 2 * centre * total + some * centre * centre
    spread = shifted - rest.astype(np.float64) ** 2 / some
    return np.where(count > 1, np.maximum(spread, 0.0) / np.maximum(count - 1, 1), 0.0)
