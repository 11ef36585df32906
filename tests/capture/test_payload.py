"""The first payload bytes of a flow: those of its own packets, in order, per direction, and nothing when not asked."""

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwarden.capture.meter import MeterSettings, cicflowmeter_settings
from netwarden.capture.metering import meter_captures
from netwarden.errors import ConfigError
from tests.capture.frames import ACK, FIN, SYN, Packet, capture, ethernet, frame, pcap
from tests.capture.test_formats import LINKS, TUNNELS, outer_frame
from tests.capture.test_meter import captures

BOTH = ("fwd_payload", "bwd_payload")


def rows(data, rules=MeterSettings(), payload_first=8, **options):  # noqa: B008 - frozen
    sources = data if isinstance(data, list) else [io.BytesIO(data)]
    tables = meter_captures(sources, rules, payload_first=payload_first, **options)
    return [row for table in tables for row in table.arrow.to_pylist()]


def said(packet: Packet, text: bytes) -> tuple[int, bytes]:
    """A frame that carries `text`."""
    whole = frame(replace(packet, payload=len(text)))
    return packet.time_us, whole[: -len(text)] + text if text else whole


def test_each_direction_has_its_first_bytes_in_the_order_of_their_arrival():
    client = Packet(0)
    talk = [said(client, b"GET "), said(replace(client.reversed(), time_us=1), b"200"),
            said(replace(client, time_us=2), b"/index"), said(replace(client, time_us=3), b"never seen")]  # fmt: skip
    (row,) = rows(pcap(talk))
    assert (row["fwd_payload"], row["bwd_payload"]) == (b"GET /ind", b"200")


def test_a_flow_without_payload_has_no_bytes_and_no_column_comes_unasked():
    (row,) = rows(capture([Packet(0, flags=SYN)]))
    assert (row["fwd_payload"], row["bwd_payload"]) == (b"", b"")
    (row,) = rows(capture([Packet(0, flags=SYN)]), payload_first=0)
    assert not set(BOTH) & set(row)


@pytest.mark.parametrize("name", LINKS)
def test_every_link_type_gives_the_same_bytes(name):
    link, wrap = LINKS[name]
    packet = Packet(0, payload=5)
    assert rows(pcap([(0, wrap(packet))], link=link))[0]["fwd_payload"] == b"xxxxx"


@pytest.mark.parametrize("name", [name for name in TUNNELS if name != "6in4"])
def test_a_tunnels_own_payload_is_the_packet_it_carries(name):
    protocol, wrap = TUNNELS[name]
    body = wrap(Packet(0, payload=3))
    data = pcap([(0, ethernet(outer_frame(protocol, body)))])
    assert rows(data, inner=True)[0]["fwd_payload"] == b"xxx"
    assert rows(data)[0]["fwd_payload"] == (body[8:] if protocol == 17 else body)[:8]


def test_padding_behind_a_short_frame_is_no_payload_and_a_snapped_frame_gives_what_it_has():
    padded = frame(Packet(0, payload=2)) + b"\0" * 4
    assert rows(pcap([(0, padded)]))[0]["fwd_payload"] == b"xx"
    snapped = frame(Packet(0, payload=200))[:-197]
    assert rows(pcap([(0, snapped)]))[0]["fwd_payload"] == b"xxx"


def test_the_bytes_of_several_captures_keep_their_flows_and_their_order(tmp_path):
    steps = [said(Packet(step, source_port=1000 + step % 3), bytes([97 + step])) for step in range(12)]
    for name, chosen in (("a", steps[::2]), ("b", steps[1::2])):
        (tmp_path / name).write_bytes(pcap(chosen))
    found = {row["src_port"]: row["fwd_payload"] for row in rows([tmp_path / "a", tmp_path / "b"])}
    assert found == {1000: b"adgj", 1001: b"behk", 1002: b"cfil"}


def test_a_flow_that_begins_anew_begins_its_bytes_anew_and_interim_records_have_what_came_so_far():
    talk = [said(Packet(second * 1_000_000), bytes([97 + second])) for second in range(6)]
    split = rows(pcap(talk), MeterSettings(active_timeout_s=2.5))
    assert [row["fwd_payload"] for row in split] == [b"abc", b"def"]
    marked = rows(pcap(talk), MeterSettings(interim_s=2))
    assert [(row["ended_by"], row["fwd_payload"]) for row in marked] == [
        ("interim", b"abc"), ("interim", b"abcde"), ("end_of_input", b"abcdef"),
    ]  # fmt: skip


def test_the_packet_that_ends_a_flow_of_the_original_counts_and_those_it_ignores_do_not():
    client = Packet(0, flags=SYN)
    server = client.reversed()
    talk = [said(client, b""), said(replace(client, time_us=1, flags=FIN | ACK), b"a"),
            said(replace(client, time_us=2, flags=FIN | ACK), b"ignored"),
            said(replace(server, time_us=3, flags=FIN | ACK), b"last")]  # fmt: skip
    (row,) = rows(pcap(talk), cicflowmeter_settings())
    assert (row["fwd_payload"], row["bwd_payload"]) == (b"a", b"last")


RULES = (
    MeterSettings(),
    MeterSettings(idle_timeout_s=0.5, max_flows=2),
    MeterSettings(interim_s=0.5, active_timeout_s=3),
    cicflowmeter_settings(max_flows=3),
)


@settings(deadline=None, max_examples=60)
@given(captures(), st.sampled_from(RULES))
def test_keeping_payload_changes_no_other_column_and_gives_each_flow_its_own_bytes(packets, rules):
    numbered = [said(packet, bytes([number % 256]) * packet.payload) for number, packet in enumerate(packets)]
    with_bytes = rows(pcap(numbered), rules, payload_first=1024)
    without = rows(pcap(numbered), rules, payload_first=0)
    assert [{name: value for name, value in row.items() if name not in BOTH} for row in with_bytes] == without
    for row in with_bytes:
        for lane in ("fwd", "bwd"):
            assert len(row[f"{lane}_payload"]) == min(row[f"{lane}_bytes"], 1024)


@settings(deadline=None, max_examples=15)
@given(captures())
def test_bytes_do_not_depend_on_how_the_capture_is_cut_into_pieces(packets):
    class Dripping(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 1) if size > 0 else size)

    data = capture(packets)
    assert rows([Dripping(data)]) == rows(data)


@pytest.mark.parametrize("count", [-1, 1025])
def test_more_bytes_than_are_kept_are_refused(count):
    with pytest.raises(ConfigError, match=f"{count} bytes of payload cannot be kept; choose 1 to 1,024"):
        rows(capture([]), payload_first=count)
