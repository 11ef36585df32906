"""A flow that is read quickly gets what it gets the ordinary way, alone or among others."""

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netwarden.errors import NetwardenError
from netwarden.flows.schema import load_schema
from netwarden.flows.table import FlowTable
from netwarden.scoring.intake import read_table
from netwarden.scoring.plain_flows import FlowReader
from netwarden.scoring.records import raw_table
from tests.fixtures.bundles import made_up_flows
from tests.fixtures.data import ROOT

SCHEMAS = {name: load_schema(name, ROOT / "schema") for name in ("nsl_kdd", "cic_flow", "netwarden_flow")}
FLOWS = {
    name: made_up_flows(schema, 12, seed=5).arrow.drop_columns(["label", "family"]).to_pylist()
    for name, schema in SCHEMAS.items()
}
TEXTS = ("", " 7 ", "-", "tcp", "7", "7.5", "x", "Infinity", "2026-11-21T10:15:00Z", "192.0.2.7")
NUMBERS = (0, 7, 7.0, 7.5, -1, 2**62, 2**64, 1e300, 1763720100, math.nan, math.inf, -math.inf)
ODD: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, *NUMBERS, None, True, [1], {}])
REFUSED = "refused"
EXTRA = ("src_ip", "src_port", "started_at", "protocol", "Timestamp", "note", "flow_id")


def ordinary(flow, schema):
    """The row as conforming the flow by itself gives it, or why there is none."""
    try:
        batch = read_table(raw_table([flow], schema), schema)
    except NetwardenError:
        return REFUSED
    return REFUSED if batch.rejected else plain(batch.table.arrow)[0]


def plain(table):
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def read(reader, flows):
    found = reader.read(flows)
    rows = dict(zip(found.places, plain(found.table.arrow), strict=True))
    assert set(found.faults) == set(range(len(flows))) - set(rows)
    return [rows.get(place, REFUSED) for place in range(len(flows))]


@pytest.mark.parametrize("name", SCHEMAS)
def test_flows_as_they_should_be_are_read_alike_and_in_one_piece(name):
    schema, flows = SCHEMAS[name], FLOWS[name]
    assert read(FlowReader(schema), flows) == [ordinary(flow, schema) for flow in flows]
    table = FlowReader(schema).read(flows).table
    assert isinstance(table, FlowTable)
    assert all(column.num_chunks == 1 for column in table.arrow.columns)


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_odd_values_and_names_change_nothing(name, data):
    schema = SCHEMAS[name]
    flows = []
    for _ in range(data.draw(st.integers(1, 4))):
        flow = dict(data.draw(st.sampled_from(FLOWS[name])))
        for _ in range(data.draw(st.integers(0, 3))):
            flow[data.draw(st.sampled_from([*flow, *EXTRA]))] = data.draw(ODD)
        for gone in data.draw(st.lists(st.sampled_from(list(flow)), max_size=1)):
            del flow[gone]
        flows.append(flow)
    assert read(FlowReader(schema), flows) == [ordinary(flow, schema) for flow in flows]


def test_names_of_other_spellings_and_units_are_read_alike():
    schema = SCHEMAS["cic_flow"]
    spelled = {
        (column.aliases[-1].name if column.aliases else column.name): value
        for column, value in ((column, FLOWS["cic_flow"][0][column.name]) for column in schema.features)
    }
    assert "flow_duration" in spelled
    assert read(FlowReader(schema), [spelled, FLOWS["cic_flow"][1]]) == [
        ordinary(spelled, schema),
        ordinary(FLOWS["cic_flow"][1], schema),
    ]


def test_what_is_missing_is_named_for_each_flow():
    flow = dict(FLOWS["nsl_kdd"][0])
    del flow["src_bytes"]
    found = FlowReader(SCHEMAS["nsl_kdd"]).read([FLOWS["nsl_kdd"][1], flow])
    assert found.places == [0]
    assert "src_bytes" in str(found.faults[1])


def test_no_flow_at_all_is_a_table_without_rows():
    found = FlowReader(SCHEMAS["nsl_kdd"]).read([])
    assert (len(found.table), found.places, found.faults) == (0, [], {})
    assert pa.types.is_int64(found.table.arrow.schema.field("src_bytes").type)
