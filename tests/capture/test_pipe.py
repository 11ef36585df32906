"""Captures through a pipe: flows come promptly, a signal ends it with all of them, and slowness changes none."""

import fcntl
import gzip
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netwarden.capture.live import LiveFacts, tcpdump_frames
from netwarden.capture.meter import MeterSettings
from netwarden.capture.metering import MeterReport, meter_captures
from netwarden.capture.pipe import Pipe
from netwarden.errors import InputError
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.capture.test_live_records import send, stopped

NETWARDEN = Path(sys.executable).parent / "netwarden"


def call(port, start_us=0):
    """A TCP connection that both sides end, 3 ms long."""
    first = Packet(start_us, source_port=port, flags=SYN)
    answer = replace(first.reversed(), time_us=start_us + 1000, flags=SYN | ACK)
    return [first, answer, replace(first, time_us=start_us + 2000, flags=FIN | ACK),
            replace(answer, time_us=start_us + 3000, flags=FIN | ACK)]  # fmt: skip


@contextmanager
def metering(source):
    """`netwarden meter -` on a pipe; gone after the block."""
    command = [str(NETWARDEN), "meter", "-"]
    meter = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield meter
    finally:
        meter.kill()
        meter.communicate()


def rows(source):
    return [row for table in meter_captures([source], MeterSettings()) for row in table.arrow.to_pylist()]


@pytest.fixture
def pipe():
    """(reading, writing) ends; the test closes the writing one where it matters."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "wb", buffering=0) as end:
        yield reading, end


def test_live_flows_are_written_while_the_pipe_is_open_and_a_signal_flushes_the_others(kernels, pipe):
    reading, writing = pipe
    with metering(reading) as meter:
        now_us = time.time_ns() // 1000
        writing.write(capture([*call(1024, now_us), Packet(now_us, protocol=17, payload=30)]))
        closed = json.loads(meter.stdout.readline())
        assert (closed["ended_by"], closed["fwd_packets"], closed["bwd_packets"]) == ("closed", 2, 2)
        meter.send_signal(signal.SIGINT)
        rest = [json.loads(line) for line in meter.stdout]
        assert meter.wait(30) == 0
        assert "5 packets, 2 flows" in meter.stderr.read()
    assert [(row["ended_by"], row["fwd_bytes"]) for row in rest] == [("end_of_input", 30)]


def test_tcpdump_through_a_pipe_gives_flows_within_about_a_second_of_their_ends(cable, tmp_path):
    listen = ["tcpdump", "-i", cable.receiver_interface, "-U", "--immediate-mode", "-s", "256", "-w", "-"]
    tcpdump: Any = subprocess.Popen(cable.at_receiver(*listen), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        with metering(tcpdump.stdout) as meter:
            tcpdump.stderr.readline()  # «listening on …»
            send(cable, call(1024), tmp_path)
            meter.stdout.readline()  # it is up
            send(cable, call(1025), tmp_path)
            sent_s = time.monotonic()
            assert json.loads(meter.stdout.readline())["src_port"] == 1025
            assert time.monotonic() - sent_s < 4  # half a second for stragglers, one for packets on their way
            send(cable, [Packet(0, source_port=1026)], tmp_path)
            time.sleep(0.5)
            assert "9 packets, 3 flows" in stopped(meter)
    finally:
        tcpdump.kill()
        tcpdump.communicate()


def test_an_interrupt_before_anything_came_is_a_clean_end(kernels, pipe):
    reading, _ = pipe
    with metering(reading) as meter:
        until_s = time.monotonic() + 30
        while fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) < 1 << 20 and time.monotonic() < until_s:
            time.sleep(0.05)  # the meter asks for more room once it is up
        meter.send_signal(signal.SIGINT)
        _, told = meter.communicate(timeout=30)
    assert meter.returncode == 0, told


def test_a_stop_before_anything_came_gives_no_flows(pipe):
    assert list(meter_captures([Pipe(pipe[0], lambda: True)], MeterSettings())) == []


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_recorded_capture_gives_the_same_flows_however_slowly_it_comes(pipe, packed, tmp_path):
    packets = sorted(call(1024) + call(1025, 100_000) + call(1024, 400_000), key=lambda packet: packet.time_us)
    data = packed(capture(packets))
    (tmp_path / "whole").write_bytes(data)
    reading, writing = pipe

    def hand_over():
        for start in range(0, len(data), 97):
            writing.write(data[start : start + 97])
            time.sleep(1.7 if start == 97 * 3 else 0.01)  # longer than the meter waits for stragglers
        writing.close()

    writer = threading.Thread(target=hand_over)
    writer.start()
    piped = rows(Pipe(reading))
    writer.join()
    assert piped == rows(tmp_path / "whole")


@pytest.mark.parametrize("ahead_s", [-30, 30])
def test_flows_of_a_machine_whose_clock_differs_come_as_promptly(pipe, ahead_s):
    reading, writing = pipe
    writing.write(capture(call(1024, time.time_ns() // 1000 + ahead_s * 1_000_000)))
    began_s = time.monotonic()
    tables = meter_captures([Pipe(reading, lambda: time.monotonic() - began_s > 10)], MeterSettings())
    (row,) = next(tables).arrow.to_pylist()
    assert row["ended_by"] == "closed"
    assert time.monotonic() - began_s < 5


def test_a_writer_that_never_ends_does_not_keep_a_stopped_meter(pipe):
    reading, writing = pipe
    data, began_s, over = capture(call(1024)), time.monotonic(), threading.Event()
    writing.write(data)

    def hand_over():
        while not over.is_set():
            writing.write(data[24:])

    writer = threading.Thread(target=hand_over, daemon=True)
    writer.start()
    report = MeterReport()
    tables = meter_captures([Pipe(reading, lambda: time.monotonic() - began_s > 0.5)], MeterSettings(), report=report)
    assert sum(len(table) for table in tables) == report.flows > 0
    assert time.monotonic() - began_s < 10
    over.set()
    os.read(reading, 1 << 20)  # room, where the writer waits for it
    writer.join(10)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("tcpdump"), reason="needs root and tcpdump")
def test_tcpdump_stands_in_where_the_system_has_no_ring():
    facts, began_s, seen = LiveFacts(), time.monotonic(), 0

    def enough():
        return facts.frames > 0 or time.monotonic() - began_s > 20

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talking:
        for frames in tcpdump_frames("lo", enough, facts):
            talking.sendto(b"hello", ("127.0.0.1", 9))
            seen += 0 if frames is None else len(frames.records)
    assert facts.frames == seen > 0
    assert facts.dropped == 0


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="needs tcpdump")
def test_what_tcpdump_says_of_an_interface_is_passed_on():
    with pytest.raises(InputError, match="interface nowhere0 cannot be captured: tcpdump: "):
        list(tcpdump_frames("nowhere0", lambda: False, LiveFacts()))
