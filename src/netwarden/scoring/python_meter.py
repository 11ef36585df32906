"""Flows that the Python tool `cicflowmeter` posts: its releases agree on names, not on the unit of times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netwarden.flows.schema import FlowSchema, fold_name

_US_PER_S = 1e6


def in_seconds(flow: Mapping[str, Any], schema: FlowSchema) -> Mapping[str, Any]:
    """The flow with its times in seconds, as the schema reads these names.

    Releases up to 0.2 write microseconds, later ones seconds, and nothing in a flow says which: but its duration and
    its packets a second must give its number of packets.
    """
    if not _is_in_microseconds(flow):
        return flow
    spellings = schema.spellings
    times = {name for name in flow if spellings.get(fold_name(name), ("", ""))[1] == "s"}
    return {name: _scaled(value) if name in times else value for name, value in flow.items()}


def _is_in_microseconds(flow: Mapping[str, Any]) -> bool:
    try:
        packets = float(flow["tot_fwd_pkts"]) + float(flow["tot_bwd_pkts"])
        product = float(flow["flow_duration"]) * float(flow["flow_pkts_s"])
    except (KeyError, TypeError, ValueError):
        return False
    return product > packets * _US_PER_S / 2


def _scaled(value: Any) -> Any:
    return value / _US_PER_S if isinstance(value, int | float) and not isinstance(value, bool) else value
