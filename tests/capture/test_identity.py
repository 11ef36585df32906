"""Addresses as text, flow ids and Community IDs are those of Python's own libraries and of the reference."""

import hashlib
import ipaddress
import struct

import numpy as np
import pytest
from communityid import CommunityID, FlowTuple
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.capture.decode import ICMP_ANSWERS
from netwarden.capture.identity import endpoint_addresses, flow_names
from netwarden.capture.records import FLOW
from netwarden.flows.table import content_hash

_KEY = ("source_high", "source_low", "target_high", "target_low", "source_port", "target_port", "protocol", "version")
_ICMP = {1: FlowTuple.make_icmp, 58: FlowTuple.make_icmp6}
_FOUR = st.ip_addresses(v=4)
_SIX = st.one_of(
    st.ip_addresses(v=6),
    st.lists(st.sampled_from((0, 0, 0, 1, 0x20, 0x300, 0xFFFF)), min_size=8, max_size=8).map(
        lambda groups: ipaddress.IPv6Address(struct.pack("!8H", *groups))
    ),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(_FOUR, _SIX), max_size=20))
def test_addresses_are_written_as_python_writes_them(addresses):
    records = np.concatenate([np.empty(0, FLOW), *(_record(address, address) for address in addresses)])
    sources, targets = endpoint_addresses(records)
    sources.validate(full=True)
    assert sources.to_pylist() == targets.to_pylist() == list(map(str, addresses))


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(st.tuples(_FOUR, _FOUR), st.tuples(_SIX, _SIX)),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from((0, 1, 6, 17, 47, 58, 132, 255)),
)
def test_community_ids_are_those_of_the_reference_implementation(between, source_port, target_port, protocol):
    source, target = between
    if protocol in _ICMP:  # a type that has an answer stands in for the port, as the meter has it
        answer = ICMP_ANSWERS[int(protocol == 58), source_port]
        target_port = answer if answer >= 0 else target_port
        wanted = _ICMP[protocol](source.packed, target.packed, source_port, target_port)
    elif protocol in (6, 17, 132):
        wanted = FlowTuple(protocol, source.packed, target.packed, source_port, target_port)
    else:
        wanted = FlowTuple(protocol, source.packed, target.packed)
    record = _record(source, target, source_port=source_port, target_port=target_port, protocol=protocol)
    assert flow_names(record, "")[1].to_pylist() == [CommunityID().calc(wanted)]


@settings(deadline=None, max_examples=50)
@given(st.tuples(_SIX, _SIX), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2**62), st.text(max_size=9))
def test_a_flow_id_hashes_sensor_endpoints_protocol_and_start(between, source_port, target_port, start_ns, sensor):
    record = _record(*between, source_port=source_port, target_port=target_port, protocol=17, start_ns=start_ns)
    endpoints = b"".join(address.packed for address in between) + struct.pack("!HH", source_port, target_port)
    hashed = content_hash(sensor.encode())[:8] + endpoints + bytes((17, 6)) + struct.pack("!q", start_ns)
    assert flow_names(record, sensor)[0].to_pylist() == [hashlib.sha1(hashed, usedforsecurity=False).hexdigest()[:32]]


@pytest.mark.parametrize("field", [*_KEY, "start_ns"])
def test_flows_that_differ_have_different_ids(field):
    records = np.repeat(_record(ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("10.0.0.2")), 2)
    records[field][1] += 1
    one, other = flow_names(records, "a")[0].to_pylist()
    assert one != other
    assert one != flow_names(records, "b")[0][0].as_py()


def _record(source, target, **more):
    record = np.zeros(1, FLOW)
    for name, address in (("source", source), ("target", target)):
        record[f"{name}_high"], record[f"{name}_low"] = divmod(int(address), 1 << 64)
    record["version"] = source.version
    for name, value in more.items():
        record[name] = value
    return record
