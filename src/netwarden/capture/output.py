"""Flow tables as files hold them: the original CICFlowMeter's header, order and formats; payload bytes as text."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from netwarden.capture.definitions import CICFLOWMETER_NAMES
from netwarden.capture.payload import PAYLOAD_COLUMNS
from netwarden.flows.table import FlowTable

_TIME_FORMAT = "%d/%m/%Y %I:%M:%S %p"
_NO_LABEL = "NeedManualLabel"


def as_cicflowmeter(table: FlowTable) -> Any:
    """Arrow table with the original's 84 columns: its flow id, times in UTC, and its words for undefined rates."""
    arrow = table.arrow
    columns = {theirs: arrow.column(ours) for ours, theirs in CICFLOWMETER_NAMES.items() if ours != "label"}
    parts = [columns[name].cast(pa.string()) for name in ("Src IP", "Dst IP", "Src Port", "Dst Port", "Protocol")]
    columns["Flow ID"] = pc.binary_join_element_wise(*parts, "-")
    columns["Timestamp"] = pc.strftime(
        columns["Timestamp"].cast(pa.timestamp("s", tz="UTC"), safe=False), format=_TIME_FORMAT
    )
    for window in ("FWD Init Win Bytes", "Bwd Init Win Bytes"):
        columns[window] = columns[window].fill_null(-1)
    some = pc.greater(pc.add(arrow.column("fwd_bytes"), arrow.column("bwd_bytes")), 0)
    columns["Flow Bytes/s"] = _undefined_as_words(columns["Flow Bytes/s"], some)
    columns["Flow Packets/s"] = _undefined_as_words(columns["Flow Packets/s"], True)
    columns["Label"] = pa.repeat(pa.scalar(_NO_LABEL), len(table))
    return pa.table(columns)


def with_payload_as_text(table: FlowTable) -> Any:
    """Arrow table whose payload bytes, where it has any, are hexadecimal text."""
    arrow = table.arrow
    for name in set(PAYLOAD_COLUMNS) & set(arrow.column_names):
        text = pa.array([value.hex() for value in arrow.column(name).to_pylist()], pa.string())
        arrow = arrow.set_column(arrow.column_names.index(name), name, text)
    return arrow


def _undefined_as_words(rates: Any, positive: Any) -> Any:
    """Rates as text; x/0 is Infinity and 0/0 is NaN, as Java writes them."""
    return pc.if_else(rates.is_null(), pc.if_else(positive, "Infinity", "NaN"), rates.cast(pa.string()))
