"""The demo capture: a piece of a recording with the truth of its flows."""

import gzip
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from netwarden.errors import InputError
from netwarden.lab import demo
from netwarden.lab.demo import Cut, build_demo
from netwarden.lab.truth import GroundTruth, Owner, save_truth
from tests.capture.frames import ACK, FIN, SYN, Packet, capture

START_US = 1_772_438_400_000_000  # 2026-03-02T08:00:00Z
PORTS = {5001: 0, 5002: 1, 5003: 0, 5004: 0}  # who opened what, by source port


def call(port: int, at_us: int, payloads: int = 1) -> list[Packet]:
    sent = [Packet(at_us + 2000 + nth, source_port=port, payload=900) for nth in range(payloads)]
    return [
        Packet(at_us, source_port=port, flags=SYN),
        Packet(at_us + 1000, source_port=port, flags=SYN | ACK).reversed(),
        *sent,
        Packet(at_us + 9000, source_port=port, flags=FIN | ACK).reversed(),
    ]


@pytest.fixture
def recording(tmp_path):
    """A benign call and a scan within the first second, a long benign call, and a call of the tenth second."""
    packets = [*call(5001, START_US), *call(5002, START_US + 20_000), *call(5003, START_US + 40_000, payloads=400)]
    late = call(5004, START_US + 10_000_000)
    with pa.CompressedOutputStream(str(tmp_path / "capture.pcap.zst"), "zstd") as target:
        target.write(capture([*packets, *late]))
    owners = tuple(
        Owner(f"{name}@pc", name, label, name, "pc", "10.0.0.1", 0.0, 20.0)
        for name, label in (("browsing", "benign"), ("nmap", "port_scan"))
    )
    opened = [(5001, START_US), (5002, START_US + 20_000), (5003, START_US + 40_000), (5004, START_US + 10_000_000)]
    turns = {
        "source": ["10.0.0.1"] * 4,
        "source_port": [port for port, _ in opened],
        "target": ["10.0.0.2"] * 4,
        "target_port": [80] * 4,
        "protocol": [6] * 4,
        "first_us": [at for _, at in opened],
        "last_us": [at + 9000 for _, at in opened],
        "owner": [PORTS[port] for port, _ in opened],
        "packets": [4] * 4,
    }
    starts = datetime.fromtimestamp(START_US / 1e6, UTC)
    save_truth(GroundTruth("tiny", 1, starts, 60.0, 20.0, owners, pa.table(turns)), tmp_path / "truth.json.gz")
    return tmp_path


def test_a_piece_has_the_flows_of_its_time_with_their_labels(recording, tmp_path):
    told = build_demo(recording, tmp_path / "demo.pcap.gz", Cut(0, 5))
    assert told.labels == {"benign": 1, "port_scan": 1} and told.packets == 8
    with gzip.open(tmp_path / "demo.truth.csv.gz") as file:
        truth = pacsv.read_csv(file).to_pylist()
    assert {(row["src_port"], row["started_at"], row["label"]) for row in truth} == {
        (5001, START_US, "benign"),
        (5002, START_US + 20_000, "port_scan"),
    }


def test_conversations_are_whole_and_begin_within_the_piece(recording, tmp_path):
    told = build_demo(recording, tmp_path / "demo.pcap.gz", Cut(0.005, 0.021))
    assert told.labels == {"port_scan": 1} and told.packets == 4


def test_packets_are_cut_to_their_headers_and_metered_in_full(recording, tmp_path):
    build_demo(recording, tmp_path / "demo.pcap.gz", Cut(0, 5, snap_bytes=64))
    assert len(gzip.decompress((tmp_path / "demo.pcap.gz").read_bytes())) <= 24 + 8 * (16 + 64)


def test_the_same_piece_has_the_same_bytes(recording, tmp_path):
    for name in ("one", "two"):
        build_demo(recording, tmp_path / f"{name}.pcap.gz", Cut(0, 5))
    assert (tmp_path / "one.pcap.gz").read_bytes() == (tmp_path / "two.pcap.gz").read_bytes()


def test_a_piece_that_is_too_large_is_refused(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "LARGEST_BYTES", 100)
    with pytest.raises(InputError, match=r"would take 0\.0 MB; cut it shorter, or lower --most-packets"):
        build_demo(recording, tmp_path / "demo.pcap.gz", Cut(0, 5))
    assert not (tmp_path / "demo.pcap.gz").exists()


def test_a_capture_of_somebody_else_is_refused(recording, tmp_path):
    with pa.CompressedOutputStream(str(recording / "capture.pcap.zst"), "zstd") as target:
        target.write(b"no capture, but long enough for a header")
    with pytest.raises(InputError, match="is not one that the lab wrote"):
        build_demo(recording, tmp_path / "demo.pcap.gz", Cut())
