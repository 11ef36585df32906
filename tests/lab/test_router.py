"""The router: what links do to packets, what it changes in them, and that it carries and counts every one."""

import json
import os
import random
import secrets
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from netwarden.lab.network import Space, network
from netwarden.lab.router import FULL, LOST, Lane, Plan, Port, Router, Way, one_hop_further
from tests.capture.frames import Packet, ip

MS = 1_000_000
WAY = Way(delay_ns=5 * MS, jitter_ns=0, loss=0.0, ns_per_byte=8.0, queue_ns=100 * MS)  # 1 Gbit/s


def test_a_link_delays_and_takes_the_time_that_its_rate_asks_for():
    lane = Lane(WAY, "seed")
    assert lane.arrival(0, 1000) == 5 * MS + 8000
    assert lane.arrival(0, 1000) == 5 * MS + 16_000  # behind the first
    assert lane.arrival(MS, 1000) == 6 * MS + 8000


def test_jitter_stays_within_its_bounds_and_reorders_nothing():
    lane = Lane(replace(WAY, jitter_ns=3 * MS), "seed")
    times = [lane.arrival(nth * MS // 4, 100) for nth in range(400)]
    assert times == sorted(times)
    late = [at - nth * MS // 4 - 800 - 5 * MS for nth, at in enumerate(times)]
    assert min(late) >= 0
    assert max(late) <= 3 * MS
    assert len(set(late)) > 50


def test_a_full_queue_drops_and_an_emptied_one_takes_again():
    lane = Lane(replace(WAY, ns_per_byte=8000.0), "seed")  # 1 Mbit/s: 8 ms for 1,000 bytes
    arrivals = [lane.arrival(0, 1000) for _ in range(20)]
    assert [at == FULL for at in arrivals] == [False] * 13 + [True] * 7
    assert lane.arrival(100 * MS, 1000) == 13 * 8 * MS + 8 * MS + 5 * MS


def test_losses_follow_their_share_and_the_seed():
    def lost(seed: str) -> list[int]:
        lane = Lane(replace(WAY, loss=0.1, ns_per_byte=0.0), seed)
        return [nth for nth in range(10_000) if lane.arrival(nth, 100) == LOST]

    assert lost("a") == lost("a") != lost("b")
    assert len(lost("a")) == pytest.approx(1000, rel=0.1)


def checksum(header: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_a_hop_lowers_the_time_to_live_and_keeps_the_checksum_right():
    rng = random.Random(3)
    for _ in range(2000):
        header = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20, rng.getrandbits(16), 0, rng.randint(2, 255), 6, 0))
        header += rng.randbytes(8)
        header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
        forwarded = one_hop_further(bytes(header) + b"payload")
        assert forwarded[8] == header[8] - 1
        assert checksum(forwarded[:20]) == 0
        assert forwarded[20:] == b"payload"


@pytest.fixture
def lab_router(tmp_path):
    """A router between sockets in place of devices: hosts 10.0.0.1 and 10.0.0.2, owner 2 an activity of the first."""
    ours, theirs = zip(*(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)), strict=True)
    ports = tuple(
        Port(end.fileno(), host, owner) for end, host, owner in zip(theirs, (0, 1, 0), (0, 1, 2), strict=True)
    )
    at_once = Way(0, 0, 0.0, 0.0, MS)
    plan = Plan(("10.0.0.1", "10.0.0.2"), (at_once, at_once), ports, (), 1, 0, time.monotonic_ns(), "", "")
    for end in (*ours, *theirs):
        end.setblocking(False)
    with (tmp_path / "capture.pcap").open("wb") as capture:
        router = Router(plan, capture)
        yield router, ours
    for end in (*ours, *theirs):
        end.close()


def forward(router: Router, rounds: int = 5) -> None:
    for _ in range(rounds):
        router.turn(0.01)


def test_answers_to_an_activity_come_in_by_its_own_device(lab_router):
    router, (first, second, activity) = lab_router
    question = Packet(0, "10.0.0.1", "10.0.0.2", 5000, 53, protocol=17, payload=30)
    activity.send(ip(question))
    forward(router)
    assert second.recv(2048)[20:] == ip(question)[20:]
    second.send(ip(question.reversed()))
    second.send(ip(replace(question.reversed(), target_port=9)))
    forward(router)
    assert activity.recv(2048)[20:] == ip(question.reversed())[20:]
    assert first.recv(2048)[22:24] == (9).to_bytes(2, "big")  # nobody asked from there


def test_what_is_not_carried_is_counted_with_its_reason_and_recorded_where_it_arrived(lab_router):
    router, (first, _, activity) = lab_router
    first.send(ip(Packet(0, "10.0.0.1", "10.9.9.9")))
    first.send(ip(Packet(0, "fd00::1", "fd00::2")))
    spent = bytearray(ip(Packet(0, "10.0.0.1", "10.0.0.2")))
    spent[8] = 1
    activity.send(bytes(spent))
    activity.send(ip(Packet(0, "192.0.2.7", "10.0.0.2", flags=2)))  # a made-up source
    forward(router)
    assert router.drops == {"no such host": 1, "not IPv4": 1, "time to live spent": 1}
    assert router.packets == 3
    assert router.owners.turns[-1].owner == 2


SEND = """
import socket, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for nth in range(200):
    for _ in range(20):
        sender.sendto(bytes(100), ("10.99.0.2", 9))
    time.sleep(0.004)
"""


def test_a_few_thousand_packets_a_second_between_namespaces_all_arrive(laboratory, tmp_path):
    spaces = [Space("left", "10.99.0.1", (40_000,)), Space("right", "10.99.0.2")]
    with network(secrets.token_hex(3), spaces) as made:
        way = Way(MS, MS // 2, 0.0, 0.8, 50 * MS)
        owners = {("left", None): 0, ("left", 40_000): 2, ("right", None): 1}
        ports = [Port(each.fd, int(each.host == "right"), owners[each.host, each.user]) for each in made.devices]
        plan = Plan(("10.99.0.1", "10.99.0.2"), (way, way), tuple(ports), (), 1, 0, time.monotonic_ns(),
                    str(tmp_path / "capture.pcap"), str(tmp_path / "turns.json"))  # fmt: skip
        command = [sys.executable, "-m", "netwarden.lab.router", plan.to_json()]
        with subprocess.Popen(command, pass_fds=[port.fd for port in ports], stdout=subprocess.PIPE) as router:
            assert router.stdout is not None
            router.stdout.readline()
            as_user = ("setpriv", "--reuid", "40000", "--clear-groups", sys.executable, "-c", SEND)
            subprocess.run(made.inside("left", *as_user), check=True, timeout=60, cwd=os.sep)
            time.sleep(0.5)
            router.terminate()
        assert made.refused() == 0
    told = json.loads((tmp_path / "turns.json").read_text())
    sent = [turn for turn in told["turns"] if turn[4] == 17]
    assert [(turn[0], turn[2], turn[3], turn[7], turn[8]) for turn in sent] == [("10.99.0.1", "10.99.0.2", 9, 2, 4000)]
    assert told["drops"] == {}
