"""What the meter keeps, whatever the timeouts, the chunks and the size of the table."""

import io
from dataclasses import replace

import numpy as np
import pytest
from communityid import CommunityID, FlowTuple
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.capture.meter import FlowMeter, MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import MeterReport, meter_captures
from netwarden.capture.records import BWD, FLOW, FWD
from netwarden.capture.stream import StreamFacts, read_packets
from netwarden.errors import ConfigError
from tests.capture.frames import ACK, FIN, PSH, RST, SYN, Packet, capture
from tests.fixtures.data import given as given_file

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fe80::1", "fe80::2")


@st.composite
def captures(draw, hosts=HOSTS):
    """Packets of a few hosts and ports in time order, with gaps around every timeout."""
    times = np.cumsum(draw(st.lists(st.sampled_from((0, 1, 999_999, 600_000, 5_000_001, 130_000_000)), max_size=40)))
    packets = []
    for time_us in times.tolist():
        source = draw(st.sampled_from(hosts))
        target = draw(st.sampled_from([host for host in hosts if (":" in host) == (":" in source)]))
        packets.append(
            Packet(
                1_600_000_000_000_000 + time_us,
                source,
                target,
                draw(st.sampled_from((80, 1024, 1025))),
                draw(st.sampled_from((80, 1024, 1025))),
                draw(st.sampled_from((6, 17, 47))),
                draw(st.sampled_from((SYN, ACK, ACK | PSH, FIN | ACK, RST, SYN | ACK))),
                draw(st.integers(0, 1400)),
            )
        )
    return packets


def meter(data, rules=MeterSettings(), **options):  # noqa: B008 - frozen
    """FLOW records of a capture given as bytes, in no promised order."""
    flow_meter, facts = FlowMeter(rules, **options), StreamFacts()
    batches = []
    for packets in read_packets(
        [data if hasattr(data, "read") else io.BytesIO(data)], facts, original=rules.mode != "corrected"
    ):
        batches += [batch.copy() for batch in flow_meter.feed(packets)]
    batches += [batch.copy() for batch in flow_meter.flush()]
    return (np.concatenate(batches) if batches else np.empty(0, FLOW)), flow_meter.counts


def sorted_rows(records):
    ignored = ("linked_us", "state", "ended_us", "ended_by", "place")
    rows = [tuple(np.ravel(record[name]).tolist() for name in FLOW.names if name not in ignored) for record in records]
    return sorted(map(str, rows))


@settings(deadline=None, max_examples=60)
@given(captures(), st.sampled_from((0.5, 3.0, 120.0)), st.sampled_from((2.0, 1800.0)), st.sampled_from((1, 2, 64)))
def test_packets_and_bytes_in_equal_those_in_flows(packets, idle_s, active_s, max_flows):
    rules = MeterSettings(idle_timeout_s=idle_s, active_timeout_s=active_s, max_flows=max_flows)
    records, counts = meter(capture(packets), rules)
    assert records["packets"].sum() == len(packets) == counts["packets"]
    assert records["bytes"].sum() == sum(packet.payload for packet in packets)


@settings(deadline=None, max_examples=40)
@given(captures(), st.sampled_from((1, 4, 64)))
def test_the_original_mode_accounts_for_every_packet_it_leaves_out(packets, max_flows):
    records, counts = meter(capture(packets), cicflowmeter_settings(max_flows=max_flows))
    kept = records["packets"].sum()
    assert kept + counts["single_packet"] + counts["after_fin"] + counts["not_ipv4"] == len(packets)


@settings(deadline=None, max_examples=15)
@given(captures())
def test_one_byte_at_a_time_gives_the_same_flows(packets):
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1) if size > 0 else size)

    data = capture(packets)
    assert sorted_rows(meter(Dripping(data))[0]) == sorted_rows(meter(data)[0])


@settings(deadline=None, max_examples=40)
@given(captures())
def test_swapping_the_endpoints_of_every_packet_swaps_nothing_but_addresses(packets):
    """Direction belongs to the initiator, not to an address."""
    one, _ = meter(capture(packets))
    other, _ = meter(capture([packet.reversed() for packet in packets]))
    strip = [name for name in FLOW.names if name.split("_")[0] in ("source", "target")]
    for records in (one, other):
        for name in strip:
            records[name] = 0
    assert sorted_rows(one) == sorted_rows(other)


@settings(deadline=None, max_examples=40)
@given(captures(("10.0.0.1", "10.0.0.2")), captures(("10.1.0.1", "10.1.0.2")))
def test_captures_of_disjoint_hosts_merge_to_the_union(first, second):
    together = sorted([*first, *second], key=lambda packet: packet.time_us)
    apart = sorted_rows(meter(capture(first))[0]) + sorted_rows(meter(capture(second))[0])
    assert sorted_rows(meter(capture(together))[0]) == sorted(apart)


@settings(deadline=None, max_examples=30)
@given(captures())
def test_no_feature_is_ever_negative(packets):
    shuffled = sorted(packets, key=lambda packet: packet.payload)  # times now jump back and forth
    for table in meter_captures([io.BytesIO(capture(shuffled))], MeterSettings()):
        for name in table.arrow.column_names:
            column = table.arrow.column(name)
            if str(column.type) in ("int64", "double") and name not in (
                "bwd_init_window_bytes",
                "pair_start_irregularity",
            ):
                values = column.drop_null().to_numpy()
                assert (values >= 0).all(), (name, values.min())


def handshake(start_us=0, port=1024):
    """A whole connection: handshake, request, reply, both FINs and the last ACK."""
    client = Packet(start_us, source_port=port, flags=SYN)
    server = client.reversed()
    steps = [
        client,
        replace(server, flags=SYN | ACK),
        replace(client, flags=ACK),
        replace(client, flags=ACK | PSH, payload=100),
        replace(server, flags=ACK | PSH, payload=1000),
        replace(client, flags=FIN | ACK),
        replace(server, flags=FIN | ACK),
        replace(client, flags=ACK),
    ]
    return [replace(packet, time_us=start_us + step * 1000) for step, packet in enumerate(steps)]


def test_a_tcp_flow_ends_on_fin_from_both_sides_with_the_closing_packets_in_it():
    records, _ = meter(capture([*handshake(), *handshake(2_000_000)]))
    assert records["packets"].tolist() == [[5, 3], [5, 3]]


def test_a_new_syn_on_a_closed_flow_opens_another_at_once():
    records, _ = meter(capture([*handshake(), *handshake(10_000)]))
    assert records["packets"].tolist() == [[5, 3], [5, 3]]


def test_a_reset_ends_a_flow_and_late_packets_of_it_stay_with_it():
    syn = Packet(0, flags=SYN)
    records, _ = meter(
        capture([syn, replace(syn.reversed(), time_us=100, flags=RST | ACK), replace(syn, time_us=200, flags=ACK)])
    )
    assert records["packets"].tolist() == [[2, 1]]


def test_a_single_packet_is_a_flow_and_its_periods_are_empty():
    (table,) = meter_captures([io.BytesIO(capture([Packet(0, protocol=17, payload=10)]))], MeterSettings())
    row = table.arrow.to_pylist()[0]
    assert (row["fwd_packets"], row["bwd_packets"], row["flow_duration_us"]) == (1, 0, 0)
    assert row["flow_bytes_per_s"] is None
    assert row["active_max_us"] == row["idle_max_us"] == 0


def test_the_last_active_period_is_recorded():
    packets = [Packet(time_us, payload=1) for time_us in (0, 1_000_000, 20_000_000, 23_000_000)]
    records, _ = meter(capture(packets))
    assert (records["actives"][0], records["active_sum"][0], records["idle_sum"][0]) == (2, 4_000_000, 19_000_000)


def test_an_echo_request_and_its_reply_are_one_flow():
    request = Packet(0, protocol=1, source_port=8, target_port=0, payload=32)
    reply = replace(request, source="10.0.0.2", target="10.0.0.1", source_port=0, time_us=500)
    records, _ = meter(capture([request, reply]))
    assert records["packets"].tolist() == [[1, 1]]


def test_later_fragments_join_the_flow_of_the_first():
    first = Packet(0, protocol=17, payload=1400, fragment_id=7, more_fragments=True)
    later = [replace(first, time_us=step, fragment_offset=176 * step, more_fragments=step < 3) for step in (1, 2, 3)]
    records, counts = meter(capture([first, *later]))
    assert records["packets"].tolist() == [[4, 0]]
    assert (records["target_port"][0], counts["fragments_joined"]) == (80, 3)


def test_a_full_table_lets_the_oldest_flow_go_and_counts_it():
    packets = [Packet(port, source_port=port) for port in range(1, 11)]
    records, counts = meter(capture(packets), MeterSettings(max_flows=4))
    assert counts["evicted"] == 6
    assert sorted(records["source_port"].tolist()) == list(range(1, 11))


def test_interim_records_are_marked_and_change_nothing():
    packets = [Packet(second * 1_000_000, payload=10) for second in range(31)]
    rules = MeterSettings(interim_s=10)
    tables = list(meter_captures([io.BytesIO(capture(packets))], rules))
    rows = [row for table in tables for row in table.arrow.select(["ended_by", "fwd_packets", "flow_id"]).to_pylist()]
    assert [row["ended_by"] for row in rows] == ["interim", "interim", "interim", "end_of_input"]
    assert len({row["flow_id"] for row in rows}) == 1
    assert rows[-1]["fwd_packets"] == 31


def test_late_packets_are_counted():
    records, counts = meter(capture([Packet(1_000_000), Packet(500_000)]))
    assert counts["late"] == 1
    assert records["last_us"][0] - records["start_us"][0] == 0


def test_quiet_time_expires_flows_without_packets():
    flow_meter = FlowMeter(MeterSettings(idle_timeout_s=10))
    for packets in read_packets([io.BytesIO(capture([Packet(0)]))], StreamFacts()):
        assert not list(flow_meter.feed(packets))
    assert not list(flow_meter.advance(10_000_000_000))
    (batch,) = flow_meter.advance(10_000_001_000)
    assert len(batch) == 1


def test_ten_times_the_flows_need_no_more_memory():
    flow_meter = FlowMeter(MeterSettings(max_flows=1000))
    before = sum(array.nbytes for array in flow_meter._table)
    flows = 0
    for start in range(0, 20_000, 1000):
        data = capture(
            [
                Packet(port, source_port=port % 60_000, source=f"10.{port // 60_000}.0.9")
                for port in range(start, start + 1000)
            ]
        )
        for packets in read_packets([io.BytesIO(data)], StreamFacts()):
            flows += sum(len(batch) for batch in flow_meter.feed(packets))
    assert flow_meter.counts["evicted"] == 19_000
    assert flows <= 19_000
    assert sum(array.nbytes for array in flow_meter._table) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "fast"}, "no meter mode"),
        ({"max_flows": 0}, "max_flows"),
        ({"active_timeout_s": 4000}, "at most 3000 s"),
        ({"interim_s": -1}, "every so many seconds"),
        ({"interim_s": 5, "mode": "cicflowmeter"}, "in mode corrected alone"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        MeterSettings(**changes)


def test_directions_have_names():
    assert (FWD, BWD) == (0, 1)
    assert str(MeterReport()).startswith("0 frames")


@pytest.mark.parametrize("name", ["skype", "wechat", "test-cc-capture-1"])
def test_community_ids_are_those_of_the_reference_implementation(name):
    reference = CommunityID()
    checked = 0
    for table in meter_captures([given_file("NETWARDEN_PCAPS", f"{name}.pcap.gz")], MeterSettings()):
        for row in table.arrow.select(
            ["src_ip", "dst_ip", "src_port", "dst_port", "protocol", "community_id"]
        ).to_pylist():
            assert row.pop("community_id") == reference.calc(_flow_tuple(**row)), row
            checked += 1
    assert checked


def _flow_tuple(src_ip, dst_ip, src_port, dst_port, protocol):
    if protocol == 1:
        return FlowTuple.make_icmp(src_ip, dst_ip, src_port, dst_port)
    if protocol == 58:
        return FlowTuple.make_icmp6(src_ip, dst_ip, src_port, dst_port)
    if protocol in (6, 17, 132):
        return FlowTuple(protocol, src_ip, dst_ip, src_port, dst_port)
    return FlowTuple(protocol, src_ip, dst_ip)
