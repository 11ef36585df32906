"""What travels through the queue."""

import pyarrow as pa
import pytest

from netwarden.errors import InputError
from netwarden.flows.table import FlowTable, MeterStamp
from netwarden.streaming.batch import StreamBatch, named_rows, pack, unpack
from tests.stores.rows import flow_rows
from tests.streaming.conftest import NOON, batch_of


def test_a_batch_comes_out_as_it_went_in(named_flows):
    metered = FlowTable(named_flows.arrow, named_flows.schema_id, MeterStamp("corrected", "1"))
    sent = StreamBatch(metered, "live", "edge", NOON)
    got = unpack(pack(sent))
    assert got.flows.arrow.equals(metered.arrow)
    assert (got.flows.schema_id, got.flows.meter) == (metered.schema_id, metered.meter)
    assert (got.source, got.sensor, got.sent_at) == ("live", "edge", NOON)


def test_a_part_of_a_batch_holds_its_own_rows_only(named_flows):
    whole = batch_of(named_flows)
    part = pack(whole.part(10, 1))
    assert unpack(part).flows.arrow.column("flow_id").to_pylist() == ["flow-10"]
    assert len(part) < len(pack(whole)) / 20


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no facts", "no ids", "other format"])
def test_a_body_that_is_no_batch_is_refused_in_one_sentence(named_flows, damage):
    body = pack(batch_of(named_flows.slice(0, 50)))
    plain = pa.BufferOutputStream()
    with pa.ipc.new_stream(plain, named_flows.arrow.schema) as writer:
        writer.write_table(named_flows.arrow)
    nameless = FlowTable(named_flows.arrow.drop_columns(["flow_id"]).slice(0, 5), "nsl_kdd")
    damaged = {
        "empty": b"",
        "text": b"GET / HTTP/1.1",
        "cut": body[: len(body) // 2],
        "no facts": plain.getvalue().to_pybytes(),
        "no ids": pack(batch_of(nameless)),
        "other format": body.replace(b'"format": 1', b'"format": 9'),
    }[damage]
    with pytest.raises(InputError, match=r"[\d,]+ bytes are no batch of flows \(.*\); was it sent by another version"):
        unpack(damaged)


def test_replayed_rows_have_the_same_ids_every_time_but_in_another_pass_of_a_loop():
    rows = FlowTable(flow_rows(range(5)), "made_up")
    ids = named_rows(rows, "edge").arrow.column("flow_id").to_pylist()
    assert len(set(ids)) == 5
    assert named_rows(named_rows(rows, "other"), "edge").arrow.column("flow_id").to_pylist() == ids
    for other in (named_rows(rows, "other"), named_rows(rows, "edge", "second")):
        assert not set(other.arrow.column("flow_id").to_pylist()) & set(ids)
