"""Recent packets: bounded in bytes, given out by a flow's id, also to another process while the meter runs."""

import io
import json
import signal
import socket
import stat
import threading
from typing import Any

import pytest

from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures
from netwarden.capture.pcap import Frames, read_capture
from netwarden.capture.recent import RecentPackets
from netwarden.capture.recent_socket import fetch_packets, packets_served
from netwarden.errors import InputError
from tests.capture.frames import ACK, PSH, Packet, capture
from tests.capture.test_commands import run
from tests.capture.test_live import wait_for_tap
from tests.capture.test_live_records import metering, send, stopped

OURS = [Packet(1_000_000 + step, payload=10) for step in range(5)]
OTHERS = [Packet(1_000_000 + step, "10.9.9.9", payload=1000) for step in range(50)]


def batch_of(packets) -> Frames:
    (frames,) = read_capture(io.BytesIO(capture(packets)))
    return frames


def table_of(packets):
    (table,) = meter_captures([io.BytesIO(capture(packets))], MeterSettings())
    return table


@pytest.fixture
def recent():
    """Packets of two flows, both of which are known."""
    kept = RecentPackets(most_bytes=140_000)
    both = sorted(OURS + OTHERS, key=lambda packet: packet.time_us)
    kept.keep(batch_of(both))
    kept.note(table_of(both))
    return kept


@pytest.fixture
def our_id():
    return table_of(OURS).arrow.column("flow_id")[0].as_py()


def test_the_packets_of_a_flow_are_saved_by_its_id(recent, our_id, tmp_path):
    assert recent.save(our_id, tmp_path / "one.pcap") == 5
    (again,) = meter_captures([tmp_path / "one.pcap"], MeterSettings())
    assert again.arrow.to_pylist() == table_of(OURS).arrow.to_pylist()


def test_recent_packets_are_bounded_and_a_flow_that_is_gone_is_an_error(recent, our_id, tmp_path):
    frames, table = batch_of(OTHERS), table_of(OTHERS)
    for _ in range(10):
        recent.keep(frames)
    assert recent.bytes <= 140_000
    with pytest.raises(InputError, match=f"packets of flow {our_id} are gone: the latest 140,000 bytes are kept"):
        recent.save(our_id, tmp_path / "two.pcap")
    for _ in range(1000):
        recent.note(table)
    assert recent.bytes <= 140_000
    with pytest.raises(InputError, match=f"no flow of late has id {our_id}"):
        recent.save(our_id, tmp_path / "two.pcap")
    assert not (tmp_path / "two.pcap").exists()


def test_the_last_record_of_a_flow_counts_not_an_interim_one(tmp_path):
    kept = RecentPackets()
    kept.keep(batch_of(OURS))
    kept.note(table_of(OURS[:3]))
    kept.note(table_of(OURS))
    assert kept.save(table_of(OURS).arrow.column("flow_id")[0].as_py(), tmp_path / "one.pcap") == 5


def test_a_flow_without_protocol_in_mode_cicflowmeter_is_found_again(tmp_path):
    packets = [Packet(1_000_000 + step, protocol=50, payload=10) for step in range(5)]
    (tmp_path / "esp.pcap").write_bytes(capture(packets))
    row = json.loads(run(tmp_path / "esp.pcap", "--mode", "cicflowmeter").stdout)
    words = ("--flow", row["flow_id"], "--mode", "cicflowmeter", "-o", tmp_path / "one.pcap")
    done = run("extract", tmp_path / "esp.pcap", *words)
    assert done.stdout.startswith(b"5 packets"), done.stderr


def test_a_socket_gives_packets_to_its_owner_alone_and_is_gone_afterwards(recent, our_id, tmp_path):
    path = tmp_path / "packets.sock"
    with packets_served(recent, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert fetch_packets(path, our_id[:8], tmp_path / "one.pcap") == 5
        for flow, message in (("ffff", "no flow of late has id ffff"), ("../x", "'../x' is no flow id")):
            with pytest.raises(InputError, match=message):
                fetch_packets(path, flow, tmp_path / "two.pcap")
        with pytest.raises(InputError, match=r"nowhere/one\.pcap cannot be written: No such file"):
            fetch_packets(path, our_id, tmp_path / "nowhere" / "one.pcap")
        assert fetch_packets(path, our_id, tmp_path / "two.pcap") == 5  # nobody's fault stops it
    assert not path.exists()
    assert (tmp_path / "one.pcap").read_bytes() == (tmp_path / "two.pcap").read_bytes()
    with pytest.raises(InputError, match=r"no meter gives packets at .*--recent-packets\?"):
        fetch_packets(path, our_id, tmp_path / "one.pcap")


def test_packets_are_given_out_while_others_come_in(our_id, tmp_path):
    kept, done = RecentPackets(most_bytes=400_000), threading.Event()
    frames, table, another = batch_of(OURS), table_of(OURS), table_of(OTHERS)
    kept.keep(frames)
    kept.note(table)

    def fill() -> None:
        while not done.is_set():
            kept.note(another)
            kept.keep(frames)
            kept.note(table)

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        for _ in range(5):
            assert kept.save(our_id, tmp_path / "one.pcap") % 5 == 0
    finally:
        done.set()
        filling.join()


def test_a_socket_takes_the_place_of_a_dead_meter_but_of_nothing_else(recent, tmp_path):
    path = tmp_path / "packets.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    with (
        packets_served(recent, path),
        pytest.raises(InputError, match="another meter answers"),
        packets_served(recent, path),
    ):
        pass
    path.write_text("mine")
    with pytest.raises(InputError, match="is there and is no socket"), packets_served(recent, path):
        pass
    assert path.read_text() == "mine"
    too_long = tmp_path / ("x" * 120)
    with pytest.raises(InputError, match=r"no socket can be made at .*too long"), packets_served(recent, too_long):
        pass


def test_the_packets_of_an_alert_are_saved_from_a_running_meter(cable, tmp_path):
    words = ("--interim", "1", "--recent-packets", "4MB", "--packets-socket", str(tmp_path / "live.sock"))
    packets = [Packet(at * 50_000, payload=10, flags=ACK | PSH) for at in range(40)]
    with metering(cable, "-", *words) as meter:
        wait_for_tap(cable)
        send(cable, packets, tmp_path)
        row: dict[str, Any] = json.loads(meter.stdout.readline())  # interim: the flow goes on
        done = run("extract", tmp_path / "live.sock", "--flow", row["flow_id"], "-o", tmp_path / "one.pcap")
        assert done.returncode == 0, done.stderr
        told = stopped(meter, signal.SIGTERM)
    assert "netwarden meter extract" in told
    assert not (tmp_path / "live.sock").exists()
    (again,) = meter_captures([tmp_path / "one.pcap"], MeterSettings())
    found = again.arrow.to_pylist()
    assert [(one["flow_id"], one["fwd_packets"]) for one in found] == [(row["flow_id"], row["fwd_packets"])]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.pcap", "--recent-packets", "64MB"], "recent packets are kept of an interface"),
        (["--interface", "lo", "--packets-socket", "x.sock"], "say how much that is"),
        (["--interface", "lo", "--recent-packets", "many"], "--recent-packets is 'many'; it is a size of at least 4MB"),
        (["--interface", "lo", "--recent-packets", "1MB"], "--recent-packets is '1MB'; it is a size of at least 4MB"),
    ],
)
def test_a_wrong_use_of_recent_packets_is_one_line(words, message):
    done = run(*words)
    assert done.returncode == 1
    assert message in done.stderr.decode().strip().splitlines()[-1]
