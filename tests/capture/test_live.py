"""Live metering in a pair of network namespaces: nothing dropped, and the flows of an offline run."""

import gzip
import io
import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import MeterReport, meter_captures, meter_live
from netwarden.errors import InputError
from tests.fixtures.data import given

BIN = Path(sys.executable).parent
PPS = 50_000
RULES = MeterSettings(idle_timeout_s=60)
FLAGS = tuple(f"{flag}_packets" for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "cwr", "ece"))
ASIDE_FROM_TIME = (
    "src_ip", "src_port", "dst_ip", "dst_port", "protocol", "fwd_packets", "bwd_packets", "fwd_bytes", "bwd_bytes",
    "fwd_packet_bytes_max", "bwd_packet_bytes_max", "fwd_header_bytes", "bwd_header_bytes", "ended_by", *FLAGS,
)  # fmt: skip


@pytest.fixture
def replayed(tmp_path):
    """A given capture as a plain file."""
    path = tmp_path / "replayed.pcap"
    path.write_bytes(gzip.decompress(given("NETWARDEN_PCAPS", "WebattackXSS.pcap.gz").read_bytes()))
    return path


def at_the_pace_of_the_replay(path: Path) -> bytes:
    """The same frames with the times they have at 50,000 a second."""
    rewritten, at, nth = bytearray(path.read_bytes()), 24, 0
    while at < len(rewritten):
        seconds, micros = divmod(nth * 1_000_000 // PPS, 1_000_000)
        struct.pack_into("<II", rewritten, at, 1_700_000_000 + seconds, micros)
        at += 16 + struct.unpack_from("<I", rewritten, at + 8)[0]
        nth += 1
    return bytes(rewritten)


def aside_from_time(rows):
    return sorted(json.dumps([row[name] for name in ASIDE_FROM_TIME]) for row in rows)


def test_a_replay_at_50_k_packets_a_second_drops_nothing_and_gives_the_flows_of_an_offline_run(
    cable, replayed, tmp_path
):
    out = tmp_path / "flows.jsonl"
    command = [str(BIN / "netwarden"), "meter", "--interface", cable.receiver_interface, "-o", str(out),
               "--idle-timeout", "60"]  # fmt: skip
    meter = subprocess.Popen(cable.at_receiver(*command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for_tap(cable)
        replay = cable.at_sender("tcpreplay", "--quiet", "--pps", str(PPS), "-i", cable.sender_interface, str(replayed))
        subprocess.run(replay, check=True, capture_output=True, timeout=60)
        time.sleep(1.0)
        meter.send_signal(signal.SIGINT)
        _, told = meter.communicate(timeout=60)
    finally:
        meter.kill()
    assert meter.returncode == 0, told
    report = MeterReport()
    (offline,) = meter_captures([io.BytesIO(at_the_pace_of_the_replay(replayed))], RULES, report=report)
    assert "dropped by the kernel: 0" in told
    assert f"{report.stream.frames:,} frames" in told
    live = [json.loads(line) for line in out.read_text().splitlines()]
    assert aside_from_time(live) == aside_from_time(offline.arrow.to_pylist())


def wait_for_tap(cable) -> None:
    """Until the meter's socket is bound, which it is after its ring is there: until then it hears nothing."""
    for _ in range(600):
        shown = subprocess.run(
            cable.at_receiver("cat", "/proc/net/packet"), check=True, capture_output=True, text=True
        ).stdout
        sockets = [line.split() for line in shown.splitlines()[1:]]
        if any(protocol == "0003" and interface != "0" for _, _, _, protocol, interface, *_ in sockets):
            return
        time.sleep(0.1)
    pytest.fail("the meter never opened its socket")


def test_an_interface_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(InputError, match=r"no interface 'nowhere0'; there are: .*lo"):
        next(meter_live("nowhere0", RULES, lambda: True))
