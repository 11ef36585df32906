"""Whose every flow is: ports used again, silences, ICMP, fragments, and what cannot be placed."""

import io
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures, no_flows
from netwarden.errors import InputError, LabError
from netwarden.flows.table import FlowTable
from netwarden.lab.owners import Behalf, Owners, readable
from netwarden.lab.truth import GroundTruth, Owner, label_flows, load_truth, save_truth, turn_table
from tests.capture.frames import ACK, FIN, RST, SYN, Packet, ip, pcap

STARTS = datetime(2026, 3, 2, 8, tzinfo=UTC)
ZERO_US = int(STARTS.timestamp() * 1_000_000)
SECOND = 1_000_000
HOSTS = ("10.0.0.1", "10.0.0.2")  # owners 0 and 1 are their services
OWNERS = (
    *(Owner(f"service@{host}", "service", "benign", "", host, host, 0, 9000) for host in HOSTS),
    Owner("reading@a", "reading", "benign", "browse", "a", HOSTS[0], 0, 9000),
    Owner("scan@a", "scan", "syn_scan", "nmap", "a", HOSTS[0], 0, 9000),
    Owner("beacon@b", "beacon", "c2_beacon", "beacon", "b", HOSTS[1], 0, 9000),
)
READING, SCAN, BEACON = 2, 3, 4
SERVICE_A, SERVICE_B = 0, 1


@dataclass(frozen=True)
class Sent:
    """A packet and the owner whose device it came from."""

    packet: Packet
    sender: int


def truth_of(sent: list[Sent], behalf: tuple[Behalf, ...] = ()) -> GroundTruth:
    owners = Owners(len(HOSTS), behalf)
    for each in sent:
        owners.take(ip(each.packet), each.sender, each.packet.time_us)
    turns = turn_table([readable(turn) for turn in owners.turns])
    return GroundTruth("made-up", 1, STARTS, 3600, 9000, OWNERS, turns)


def metered(sent: list[Sent]) -> FlowTable:
    capture = pcap(((each.packet.time_us, ip(each.packet)) for each in sent), link=101)
    rules = MeterSettings()
    tables = [table.arrow for table in meter_captures([io.BytesIO(capture)], rules)]
    nothing = no_flows(rules)
    return FlowTable(pa.concat_tables([nothing.arrow, *tables]), nothing.schema_id, nothing.meter)


def activities(sent: list[Sent], **kwargs) -> list[str]:
    """Activity of each flow in order of the flows' starts."""
    flows = metered(sent)
    flows = replace(flows, arrow=flows.arrow.sort_by("started_at"))
    return list(label_flows(flows, truth_of(sent, **kwargs)).column("activity").to_pylist())


def at(second: float, **kwargs) -> Packet:
    return Packet(ZERO_US + round(second * SECOND), source=HOSTS[0], target=HOSTS[1], **kwargs)


def back(second: float, **kwargs) -> Packet:
    return at(second, **kwargs).reversed()


def connection(second: float, owner: int, **kwargs) -> list[Sent]:
    """A short connection from host a to a service of host b."""
    return [
        Sent(at(second, flags=SYN, **kwargs), owner),
        Sent(back(second + 0.01, flags=SYN | ACK, **kwargs), SERVICE_B),
        Sent(at(second + 0.02, flags=ACK, payload=9, **kwargs), owner),
        Sent(back(second + 0.03, flags=FIN | ACK, **kwargs), SERVICE_B),
        Sent(at(second + 0.04, flags=FIN | ACK, **kwargs), owner),
        Sent(back(second + 0.05, flags=ACK, **kwargs), SERVICE_B),
    ]


def test_a_port_used_again_by_another_activity_starts_a_flow_of_its_own_label():
    sent = connection(1, READING) + connection(3, SCAN) + connection(5, READING)
    assert activities(sent) == ["reading", "scan", "reading"]


def test_a_port_used_again_by_another_activity_at_once_is_told_apart_by_its_syn():
    assert activities(connection(1, SCAN) + connection(1.051, READING)) == ["scan", "reading"]


def test_what_follows_a_long_silence_belongs_to_whoever_opened_the_connection():
    sent = [*connection(1, READING)[:3], Sent(back(200, payload=5), SERVICE_B), Sent(at(400, payload=5), READING)]
    assert activities(sent) == ["reading", "reading", "reading"]


def test_what_the_kernel_sends_in_place_of_an_activity_is_the_activitys():
    sent = [
        Sent(at(1, flags=SYN), SCAN),
        Sent(back(1.01, flags=SYN | ACK), SERVICE_B),
        Sent(at(1.02, flags=RST), SERVICE_A),
        Sent(at(300, flags=RST), SERVICE_A),
    ]
    assert activities(sent) == ["scan", "scan"]


def test_datagrams_of_two_activities_over_the_same_ports_are_one_flow_of_the_first_and_said_to_be_shared():
    udp = {"protocol": 17, "payload": 20}
    sent = [Sent(at(1, **udp), READING), Sent(back(2, **udp), SERVICE_B), Sent(at(3, **udp), SCAN)]
    labels = label_flows(metered(sent), truth_of(sent))
    assert labels.column("activity").to_pylist() == ["reading"]
    assert labels.shared.tolist() == [True]
    assert activities([*sent, Sent(at(200, **udp), SCAN)]) == ["reading", "scan"]


def test_an_activity_that_answers_opens_nothing_until_it_speaks_after_a_long_silence():
    udp = {"protocol": 17, "payload": 20}
    sent = [Sent(at(1, **udp), READING), Sent(back(2, **udp), BEACON), Sent(back(200, **udp), BEACON)]
    assert activities(sent) == ["reading", "beacon"]


def test_a_service_that_answers_late_answers_whoever_asked():
    udp = {"protocol": 17, "payload": 20}
    assert activities([Sent(at(1, **udp), SCAN), Sent(back(500, **udp), SERVICE_B)]) == ["scan", "scan"]


def test_an_icmp_error_belongs_to_the_activity_whose_packet_it_quotes():
    probe = at(1, protocol=17, source_port=40_000, target_port=7)
    error = ip(replace(back(2), protocol=1, source_port=3, target_port=3, payload=0)) + bytes(4) + ip(probe)
    owners = Owners(len(HOSTS))
    owners.take(ip(probe), SCAN, 1)
    assert owners.take(error, SERVICE_B, 2).owner == SCAN
    stray = (
        ip(replace(back(2), protocol=1, source_port=3, target_port=1)) + bytes(4) + ip(replace(probe, source_port=9))
    )
    assert owners.take(stray, SERVICE_B, 3).owner == SERVICE_B


def test_a_ping_and_its_answer_are_one_turn_and_pings_the_other_way_another():
    ask = {"protocol": 1, "source_port": 8, "target_port": 0, "payload": 8}
    answer = Packet(ZERO_US + 2, HOSTS[1], HOSTS[0], 0, 0, protocol=1, payload=8)
    other = Packet(ZERO_US + 3 * SECOND, HOSTS[1], HOSTS[0], 8, 0, protocol=1, payload=8)
    sent = [Sent(at(0, **ask), SCAN), Sent(answer, SERVICE_B), Sent(other, BEACON)]
    assert activities(sent) == ["scan", "beacon"]


def test_later_fragments_belong_to_the_flow_of_their_first():
    udp = {"protocol": 17, "fragment_id": 7}
    sent = [
        Sent(at(1, payload=72, more_fragments=True, **udp), SCAN),
        Sent(at(1.1, payload=80, fragment_offset=10, **udp), SCAN),
        Sent(at(50, payload=80, fragment_offset=20, **udp), READING),  # too late to be known
    ]
    assert activities(sent) == ["scan", "reading"]


def test_a_connection_that_a_service_opens_on_behalf_of_an_activity_is_the_activitys():
    opened_back = [Sent(back(second, flags=SYN, source_port=second, target_port=20), SERVICE_B) for second in (5, 500)]
    to_host_a = bytes(int(part) for part in HOSTS[0].split("."))
    rule = Behalf(SERVICE_B, 20, to_host_a, READING, ZERO_US, ZERO_US + 100 * SECOND)
    assert activities(opened_back, behalf=(rule,)) == ["reading", "service"]
    assert activities(opened_back, behalf=(replace(rule, port=21),)) == ["service", "service"]


def test_a_flow_that_no_turn_explains_is_refused_with_its_endpoints():
    sent = connection(1, READING)
    later = [Sent(replace(each.packet, time_us=each.packet.time_us + 60 * SECOND), each.sender) for each in sent]
    with pytest.raises(LabError, match=r"1 of 2 flows have no known origin, first 10\.0\.0\.1:1024 → 10\.0\.0\.2:80"):
        label_flows(metered(sent + later), truth_of(sent))
    with pytest.raises(LabError, match="1 of 1 flows have no known origin"):
        label_flows(metered(sent), truth_of([]))


def test_a_truth_is_the_same_after_it_was_written_and_read(tmp_path):
    truth = truth_of(connection(1, READING) + connection(2, SCAN))
    save_truth(truth, tmp_path / "truth.json.gz")
    assert load_truth(tmp_path / "truth.json.gz") == truth
    (tmp_path / "other.json.gz").write_bytes(b"no truth")
    with pytest.raises(InputError, match=r"other\.json\.gz cannot be read as the truth of a recording"):
        load_truth(tmp_path / "other.json.gz")


# --- against another way to the same answer ---------------------------------------------------------------------

_BEGUN = st.fixed_dictionaries(
    {
        "owner": st.sampled_from((READING, SCAN)),
        "port": st.sampled_from((1024, 1025)),
        "protocol": st.sampled_from((6, 17)),
        "wait_s": st.sampled_from((0.2, 0.9, 5.0, 119.0, 121.0, 700.0)),
        "exchanges": st.lists(st.sampled_from((0.001, 1.0, 100.0, 119.9, 130.0)), max_size=4),
        "ends": st.sampled_from(("fin", "reset", "silence")),
    }
)


def conversations(drawn: list[dict[str, Any]]) -> list[tuple[Sent, int]]:
    """Packets in order, each beside the owner of the conversation that it was made for; one conversation at a time."""
    made, now = [], 0.0
    for begun in drawn:
        owner, tcp = begun["owner"], begun["protocol"] == 6
        ends = {"source_port": begun["port"], "protocol": begun["protocol"]}
        now += begun["wait_s"]
        made.append((Sent(at(now, flags=SYN, **ends), owner), owner))
        for gap_s in begun["exchanges"]:
            now += gap_s
            made.append((Sent(back(now, flags=ACK, payload=10, **ends), SERVICE_B), owner))
            made.append((Sent(at(now + 0.0005, flags=ACK, payload=10, **ends), owner), owner))
        if tcp and begun["ends"] != "silence":
            flag = FIN if begun["ends"] == "fin" else RST
            made.append((Sent(at(now + 0.0006, flags=flag | ACK, **ends), owner), owner))
            made.append((Sent(back(now + 0.0007, flags=flag | ACK, **ends), SERVICE_B), owner))
        now += 0.001
    return made


@settings(max_examples=150, deadline=None)
@given(st.lists(_BEGUN, min_size=1, max_size=12))
def test_every_flow_is_of_the_conversation_that_its_first_packet_was_made_for(drawn):
    made = conversations(drawn)
    sent = [each for each, _ in made]
    flows = metered(sent)
    labels = label_flows(flows, truth_of(sent))
    made_for = {each.packet.time_us: owner for each, owner in made}
    starts = flows.arrow.column("started_at").cast(pa.int64()).to_pylist()
    assert labels.owner.tolist() == [made_for[start_us] for start_us in starts]


def test_100_000_flows_are_labelled_within_a_second():
    rng, turns, owned = random.Random(5), [], []
    for nth in range(100_000):
        source, port = f"10.0.{rng.randrange(4)}.{rng.randrange(250)}", rng.randrange(1024, 1400)
        start_us, owner = ZERO_US + nth * 1000, rng.choice((READING, SCAN))
        turns.append((source, port, HOSTS[1], 80, 6, start_us, start_us + 500, owner, 3))
        owned.append(owner)
    columns = list(zip(*turns, strict=True))
    names = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
    table = pa.table({name: pa.array(values) for name, values in zip(names, columns, strict=False)})
    started = pa.array(columns[5]).cast(pa.timestamp("us", tz="UTC"))
    table = table.append_column("started_at", started).append_column("flow_duration_us", pa.array([500] * 100_000))
    truth = GroundTruth("made-up", 1, STARTS, 3600, 9000, OWNERS, turn_table(turns))
    began = time.process_time()
    labels = label_flows(FlowTable(table, "netwarden_flow"), truth)
    assert time.process_time() - began < 1.0
    assert labels.owner.tolist() == owned
