"""Capture formats and link types: the same packets, however they are wrapped."""

import gzip
import io
import lzma
import random
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import MeterReport, meter_captures
from netwarden.errors import InputError
from tests.capture.frames import Packet, ethernet, frame, ip, pcap, pcapng

PACKETS = [Packet(1_000_000 + 100 * step, payload=step) for step in range(5)]
SIX = [Packet(1_000_000 + step, "fe80::1", "fe80::2", payload=step) for step in range(5)]


def flows(data, **options):
    report = MeterReport()
    source = data if hasattr(data, "read") or not isinstance(data, bytes) else io.BytesIO(data)
    tables = list(meter_captures([source], MeterSettings(), report=report, **options))
    wanted = [
        "src_ip",
        "dst_ip",
        "src_port",
        "dst_port",
        "protocol",
        "fwd_packets",
        "fwd_bytes",
        "flow_duration_us",
        "started_at",
    ]
    return [row for table in tables for row in table.arrow.select(wanted).to_pylist()], report


def expected(packets=PACKETS):
    return flows(pcap((packet.time_us, frame(packet)) for packet in packets))[0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_pcap_in_either_byte_order_and_both_resolutions(order, nanoseconds):
    data = pcap(((p.time_us, frame(p)) for p in PACKETS), order=order, nanoseconds=nanoseconds)
    assert flows(data)[0] == expected()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("resolution", [3, 6, 9, 0x80 | 20])
def test_pcapng_of_several_interfaces_and_resolutions(order, resolution):
    packets = [Packet(1_000_000 * step, payload=1) for step in range(1, 5)]
    data = pcapng(
        ((step % 2, p.time_us, frame(p) if step % 2 == 0 else ip(p)) for step, p in enumerate(packets)),
        ((1, resolution), (101, 6)),
        order=order,
    )
    assert flows(data)[0] == expected(packets)


LINKS: dict[str, tuple[int, Callable[[Packet], bytes]]] = {
    "Linux cooked": (113, lambda p: b"\0" * 14 + b"\x08\x00" + ip(p)),
    "Linux cooked v2": (276, lambda p: b"\x08\x00" + b"\0" * 18 + ip(p)),
    "raw IP": (101, ip),
    "raw IPv4": (228, ip),
    "BSD loopback": (0, lambda p: b"\x02\0\0\0" + ip(p)),
    "OpenBSD loopback": (108, lambda p: b"\0\0\0\x02" + ip(p)),
    "PPP": (9, lambda p: b"\x00\x21" + ip(p)),
    "PPP in HDLC framing": (50, lambda p: b"\xff\x03\x00\x21" + ip(p)),
    "Cisco HDLC": (104, lambda p: b"\x0f\x00\x08\x00" + ip(p)),
    "Cisco HDLC declared as PPP": (9, lambda p: b"\x0f\x00\x08\x00" + ip(p)),
    "VLAN": (1, lambda p: ethernet(ip(p), [(0x8100, 5)])),
    "QinQ": (1, lambda p: ethernet(ip(p), [(0x88A8, 5), (0x8100, 6)])),
    "MPLS": (1, lambda p: b"\2" * 12 + b"\x88\x47" + b"\0\0\x10\x40" + b"\0\0\x11\x40" + ip(p)),
    "PPPoE": (1, lambda p: b"\2" * 12 + b"\x88\x64" + b"\x11\0\0\1\0\0" + b"\x00\x21" + ip(p)),
}
# The two labels of the MPLS stack: only the last has the bottom bit.
LINKS["MPLS"] = (1, lambda p: b"\2" * 12 + b"\x88\x47" + b"\0\x01\x00\x40" + b"\0\x01\x11\x40" + ip(p))


@pytest.mark.parametrize("name", LINKS)
def test_every_link_type_gives_the_same_flow(name):
    link, wrap = LINKS[name]
    assert flows(pcap(((p.time_us, wrap(p)) for p in PACKETS), link=link))[0] == expected()


def test_ipv6_flows_have_their_addresses():
    rows, _ = flows(pcap((p.time_us, frame(p)) for p in SIX))
    assert [(row["src_ip"], row["dst_ip"], row["fwd_packets"]) for row in rows] == [("fe80::1", "fe80::2", 5)]


TUNNELS: dict[str, tuple[int, Callable[[Packet], bytes]]] = {
    "IP in IP": (4, ip),
    "6in4": (41, ip),
    "GRE": (47, lambda p: struct.pack("!HH", 0, 0x0800) + ip(p)),
    "GRE with key and sequence": (47, lambda p: struct.pack("!HHII", 0x3000, 0x0800, 7, 8) + ip(p)),
    "GRE carrying Ethernet": (47, lambda p: struct.pack("!HH", 0, 0x6558) + frame(p)),
    "VXLAN": (17, lambda p: struct.pack("!HHHHII", 5555, 4789, 0, 0, 0x08000000, 0x100) + frame(p)),
}


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_give_the_outer_flow_or_on_request_the_inner(name):
    protocol, wrap = TUNNELS[name]
    packets = SIX if name == "6in4" else PACKETS
    data = pcap((p.time_us, ethernet(outer_frame(protocol, wrap(p)))) for p in packets)
    outer, _ = flows(data)
    assert [(row["src_ip"], row["protocol"], row["fwd_packets"]) for row in outer] == [("192.0.2.1", protocol, 5)]
    assert flows(data, inner=True)[0] == expected(packets)


def outer_frame(protocol, body):
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    return head + bytes((192, 0, 2, 1, 192, 0, 2, 2)) + body


@pytest.mark.parametrize("suffix", ["gz", "xz", "zst"])
def test_compressed_captures_are_read_as_they_are(tmp_path, suffix):
    data = pcap((p.time_us, frame(p)) for p in PACKETS)
    path = tmp_path / f"capture.pcap.{suffix}"
    if suffix == "zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(gzip.compress(data) if suffix == "gz" else lzma.compress(data))
    assert flows(path)[0] == expected()


def test_a_file_cut_anywhere_yields_all_whole_packets_and_says_what_was_cut():
    data = pcap((p.time_us, frame(p)) for p in PACKETS)
    size = len(frame(PACKETS[0]))
    for end in range(24, len(data)):
        rows, report = flows(data[:end])
        whole = 0
        left = end - 24
        for packet in PACKETS:
            left -= 16 + len(frame(packet))
            whole += left >= 0
        assert sum(row["fwd_packets"] for row in rows) == whole
        boundary = end - 24 == sum(16 + len(frame(p)) for p in PACKETS[:whole])
        assert bool(report.stream.cut) != boundary
    assert size


def test_a_compressed_file_damaged_in_the_middle_keeps_what_came_before(tmp_path):
    path = tmp_path / "cut.pcap.gz"
    many = [Packet(1_000_000 + step, payload=step % 1400) for step in range(2000)]
    whole = gzip.compress(pcap((p.time_us, frame(p)) for p in many))
    path.write_bytes(whole[:-2000] + b"\xff" * 2000)
    rows, report = flows(path)
    assert 0 < sum(row["fwd_packets"] for row in rows) < 2000
    assert report.stream.cut


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_a_compressed_file_cut_anywhere_yields_all_packets_that_can_be_unpacked(tmp_path, packing):
    noise = random.Random(1)  # does not shrink, so that shares of the file are shares of the packets
    data = pcap((step, ethernet(ip(Packet(step)) + noise.randbytes(400))) for step in range(3000))
    record = (len(data) - 24) // 3000
    pack: dict[str, Any] = {
        "gz": gzip.compress,
        "xz": lzma.compress,
        "zst": lambda plain: pa.compress(plain, "zstd", asbytes=True),
    }
    whole = pack[packing](data)
    path = tmp_path / f"cut.pcap.{packing}"
    lost = 1 << 17 if packing == "zst" else 4 * record  # zstd unpacks whole blocks alone
    for share in (0.2, 0.5, 0.9, 1):
        path.write_bytes(whole[: int(len(whole) * share) - 6])
        rows, report = flows(path)
        packets = sum(row["fwd_packets"] for row in rows)
        assert share * len(data) - lost <= packets * record <= len(data)
        assert "cut short" in report.stream.cut[path.name]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no capture file: it begins with nothing"),
        (b"PK\x03\x04 rest", "is no capture file: it begins with 504b0304"),
        (pcap([(0, b"x" * 60)], link=147), "has link type 147, which is not read"),
    ],
)
def test_what_is_no_capture_is_refused_by_name(tmp_path, data, words):
    path = tmp_path / "upload.pcap"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as refusal:
        flows(path)
    assert "upload.pcap" in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pcap cannot be read"):
        flows(tmp_path / "absent.pcap")


def test_a_snapped_capture_takes_sizes_from_the_ip_header():
    whole = frame(Packet(0, payload=1400))
    data = pcap([])
    data += struct.pack("<IIII", 1, 0, 60, len(whole)) + whole[:60]
    assert flows(data)[0][0]["fwd_bytes"] == 1400


def test_several_files_are_one_stream_in_time_order(tmp_path):
    for name, chosen in (("b", PACKETS[::2]), ("a", PACKETS[1::2])):
        (tmp_path / name).write_bytes(pcap((p.time_us, frame(p)) for p in chosen))
    report = MeterReport()
    tables = list(meter_captures([tmp_path / "b", tmp_path / "a"], MeterSettings(), report=report))
    rows = tables[0].arrow.select(["fwd_packets", "flow_duration_us"]).to_pylist()
    assert rows == [{"fwd_packets": 5, "flow_duration_us": 400}]
    assert report.counts["late"] == 0


def test_frames_that_are_not_ip_are_counted_by_reason():
    arp = b"\2" * 12 + b"\x08\x06" + b"\0" * 28
    short = b"\2" * 12
    broken = ethernet(b"\x43" + b"\0" * 30)
    _, report = flows(pcap((0, data) for data in (arp, short, broken)))
    assert report.stream.skipped == {"not_ip": 1, "truncated": 1, "malformed": 1}
