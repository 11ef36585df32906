"""What live metering writes: whole files when it is stopped, interim records, and the values of an offline run."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from netwarden.capture.context import CONTEXT_NAMES
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import meter_captures
from tests.capture.frames import ACK, FIN, PSH, RST, SYN, Packet, frame, pcap
from tests.capture.test_live import wait_for_tap

NETWARDEN = Path(sys.executable).parent / "netwarden"


@contextmanager
def running(*command: str) -> Iterator[Any]:
    """A process that is gone after the block, whatever happens in it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def metering(cable, out, *words):
    command = [str(NETWARDEN), "meter", "--interface", cable.receiver_interface, "-o", str(out), *words]
    return running(*cable.at_receiver(*command))


def stopped(process, number=signal.SIGINT):
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    return told


def send(cable, packets, folder, *words):
    """Replay made-up packets over the cable, at their own pace unless told otherwise."""
    path = folder / "sent.pcap"
    path.write_bytes(pcap((packet.time_us, frame(packet)) for packet in packets))
    command = cable.at_sender("tcpreplay", "--quiet", *words, "-i", cable.sender_interface, str(path))
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("ending", "number"), [("parquet", signal.SIGINT), ("parquet", signal.SIGTERM), ("csv", signal.SIGTERM)]
)
def test_a_stop_by_either_signal_flushes_the_open_flows_into_a_whole_file(cable, tmp_path, ending, number):
    out = tmp_path / f"flows.{ending}"
    packets = [Packet(at, source_port=2000 + at % 500, payload=at % 900) for at in range(2000)]
    with metering(cable, out) as meter:
        wait_for_tap(cable)
        send(cable, packets, tmp_path, "--pps", "20000")
        assert not out.exists()  # a file appears when it is whole
        told = stopped(meter, number)
    assert "2,000 packets, 500 flows" in told and "dropped by the kernel: 0" in told
    if ending == "csv":
        assert len(out.read_text().splitlines()) == 501
        return
    table = pq.read_table(out)
    assert table.column("fwd_packets").to_pylist() == [4] * 500
    assert set(table.column("ended_by").to_pylist()) == {"end_of_input"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flows.parquet", "sent.pcap"]


def test_a_long_flow_is_reported_while_it_lasts_under_one_id_and_its_last_record_holds_all(cable, tmp_path):
    packets = [Packet(at * 150_000, payload=10, flags=ACK | PSH) for at in range(30)]
    with metering(cable, "-", "--interim", "1") as meter:
        wait_for_tap(cable)
        send(cable, packets, tmp_path)
        early = [json.loads(meter.stdout.readline()) for _ in range(2)]  # here before the flow has ended
        meter.send_signal(signal.SIGINT)
        rows = early + [json.loads(line) for line in meter.stdout]
        assert meter.wait(60) == 0
    assert [row["ended_by"] for row in rows] == ["interim"] * (len(rows) - 1) + ["end_of_input"]
    assert 4 <= len(rows) <= 6  # 4.35 s of packets, one record a second
    assert len({row["flow_id"] for row in rows}) == 1
    counts = [row["fwd_packets"] for row in rows]
    assert counts == sorted(counts) and counts[-1] == 30
    assert rows[-1]["fwd_bytes"] == 300


def _calls():
    """A scan, guesses of a password, a beacon and answered calls within two seconds, then a lone late packet."""
    client, packets = Packet(0, flags=SYN), []
    for at in range(60):
        start = at * 30_000
        scan = replace(client, time_us=start, source="10.0.0.66", source_port=4000, target_port=at)
        packets += [scan, replace(scan.reversed(), time_us=start + 100, flags=RST | ACK)]
        guess = replace(client, time_us=start + 5_000, source="10.0.0.77", source_port=5000 + at, target_port=22)
        answer = guess.reversed()
        packets += [guess, replace(answer, flags=SYN | ACK), replace(guess, flags=PSH | ACK, payload=20 + at),
                    replace(answer, flags=FIN | ACK), replace(guess, flags=FIN | ACK)]  # fmt: skip
        packets.append(
            replace(client, time_us=start + 9_000, source="10.0.0.88", source_port=at, protocol=17, payload=8)
        )
    packets.append(replace(client, time_us=4_500_000, source="10.0.0.99"))
    return sorted(packets, key=lambda packet: packet.time_us)


def test_live_flows_have_every_value_of_an_offline_run_over_a_capture_of_the_same_packets(cable, tmp_path):
    """Both taps take the kernel's time of a packet. Flows still open at the end are left out: when the end comes is
    what differs."""
    out, taken = tmp_path / "live.parquet", tmp_path / "taken.pcap"
    listen = [
        "tcpdump",
        "-i",
        cable.receiver_interface,
        "--time-stamp-precision=nano",
        "--immediate-mode",
        "-U",
        "-w",
        str(taken),
    ]
    with metering(cable, out, "--idle-timeout", "1") as meter:
        wait_for_tap(cable)
        with running(*cable.at_receiver(*listen)) as tcpdump:
            tcpdump.stderr.readline()  # «listening on …»
            send(cable, _calls(), tmp_path)
            time.sleep(0.5)
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait(30)
        stopped(meter)
    live = _ended(pq.read_table(out).to_pylist())
    tables = meter_captures([taken], MeterSettings(idle_timeout_s=1))
    offline = _ended([row for table in tables for row in table.arrow.to_pylist()])
    assert len(live) == 180
    assert live == offline
    assert max(row["source_ports_10s"] for row in live) > 50
    assert set(CONTEXT_NAMES) < set(live[0])


def _ended(rows):
    return [row for row in rows if row["ended_by"] != "end_of_input"]
