"""What every queue and every feed promises."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from netwarden import telemetry
from netwarden.errors import QueueFullError, StoreError
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.sources.redis_queue import RedisFeed, RedisQueue
from netwarden.sources.store import Feed, Queue, QueueLimits
from tests.fixtures.servers import free_port

MakeQueue = Callable[..., Queue]


@pytest.fixture(params=["memory", "redis"])
def make_queue(request) -> Iterator[MakeQueue]:
    """Queues of given limits; publish waits for 0.2 s at most."""
    made: list[Queue] = []
    opener: Any = MemoryQueue
    if request.param == "redis":
        opener = partial(RedisQueue, request.getfixturevalue("redis_url"))

    def make(**limits: Any) -> Queue:
        queue: Queue = opener(QueueLimits(publish_timeout_s=0.2, **limits))
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


def bodies(messages):
    return [message.body for message in messages]


def ids(messages):
    return [message.message_id for message in messages]


@contextmanager
def soon(what: Callable[[Any], object], value: Any) -> Iterator[None]:
    """Does something from another thread while the block runs."""
    timer = threading.Timer(0.05, what, [value])
    timer.start()
    yield
    timer.join()


def test_messages_come_in_order_and_once_per_group(make_queue):
    queue = make_queue()
    for number in range(5):
        queue.publish(b"%d" % number)
    assert bodies(queue.read("a", 3, 0)) == [b"0", b"1", b"2"]
    assert bodies(queue.read("b", 3, 0)) == [b"3", b"4"]
    assert queue.read("a", 3, 0) == []


def test_every_message_has_its_own_id_and_counts_its_deliveries(make_queue):
    queue = make_queue()
    given = [queue.publish(b"same"), queue.publish(b"same")]
    messages = queue.read("a", 2, 0)
    assert ids(messages) == given
    assert len(set(given)) == 2
    assert [message.deliveries for message in messages] == [1, 1]


def test_a_message_counts_until_it_is_acknowledged(make_queue):
    queue = make_queue()
    queue.publish(b"x")
    (message,) = queue.read("a", 1, 0)
    assert queue.depth() == 1
    queue.acknowledge([message.message_id, "9-9"])
    queue.acknowledge([message.message_id])
    queue.acknowledge([])
    assert queue.depth() == 0


def test_a_message_left_pending_is_claimed_and_counts_another_delivery(make_queue):
    queue = make_queue()
    queue.publish(b"x")
    queue.read("crashed", 1, 0)
    assert queue.claim("other", idle_s=30, limit=10) == []
    (message,) = queue.claim("other", idle_s=0, limit=10)
    assert (message.body, message.deliveries) == (b"x", 2)
    queue.acknowledge([message.message_id])
    assert queue.claim("third", idle_s=0, limit=10) == []


def test_a_consumer_that_came_back_under_its_name_claims_its_own(make_queue):
    queue = make_queue()
    queue.publish(b"x")
    queue.read("a", 1, 0)
    assert bodies(queue.claim("a", idle_s=0, limit=10)) == [b"x"]


def test_a_claim_takes_no_more_than_its_limit_oldest_first(make_queue):
    queue = make_queue()
    for number in range(4):
        queue.publish(b"%d" % number)
    queue.read("a", 4, 0)
    assert bodies(queue.claim("b", idle_s=0, limit=2)) == [b"0", b"1"]


def test_a_message_that_is_held_is_not_claimed_and_counts_no_delivery(make_queue):
    queue = make_queue()
    queue.publish(b"x")
    held = ids(queue.read("a", 1, 0))
    time.sleep(0.3)
    queue.hold("a", held)
    assert queue.claim("b", idle_s=0.25, limit=1) == []
    time.sleep(0.3)
    assert [message.deliveries for message in queue.claim("b", idle_s=0.25, limit=1)] == [2]


def test_a_message_is_split_in_one_step_and_only_while_it_is_pending(make_queue):
    queue = make_queue()
    queue.publish(b"ab")
    (message,) = queue.read("a", 1, 0)
    queue.split(message, [b"a", b"b"])
    queue.split(message, [b"a", b"b"])
    assert queue.depth() == 2
    assert bodies(queue.read("a", 9, 0)) == [b"a", b"b"]


def test_a_dead_letter_leaves_the_queue_once_and_keeps_its_reason(make_queue):
    queue = make_queue()
    queue.publish(b"broken")
    (message,) = queue.read("a", 1, 0)
    queue.dead_letter(message, "not an Arrow stream")
    queue.dead_letter(message, "again, by a worker that had it too")
    assert queue.depth() == 0
    (letter,) = queue.dead_letters()
    assert (letter.body, letter.reason) == (b"broken", "not an Arrow stream")


def test_a_part_of_a_message_can_be_set_aside_in_its_place(make_queue):
    queue = make_queue()
    queue.publish(b"good and bad")
    (message,) = queue.read("a", 1, 0)
    queue.dead_letter(message, "bad", [b"bad"])
    assert [letter.body for letter in queue.dead_letters()] == [b"bad"]


def test_a_dead_letter_that_is_redriven_is_queued_again_and_no_longer_dead(make_queue):
    queue = make_queue()
    for body in (b"1", b"2"):
        queue.publish(body)
        queue.dead_letter(queue.read("a", 1, 0)[0], "no detector")
    first, second = queue.dead_letters()
    assert queue.redrive([first.letter_id, first.letter_id]) == 1
    assert queue.redrive([first.letter_id]) == queue.redrive([]) == 0
    assert bodies(queue.read("a", 9, 0)) == [b"1"]
    assert queue.dead_letters() == [second]


def test_dead_letters_beyond_the_bound_drop_the_oldest_and_are_counted(make_queue):
    queue, shown = make_queue(dead_letters=2), telemetry.QUEUE_DROPPED.labels("dead_letter")._value.get
    before = shown()
    for body in (b"1", b"2", b"3"):
        queue.publish(body)
        queue.dead_letter(queue.read("a", 1, 0)[0], "no")
    assert [letter.body for letter in queue.dead_letters()] == [b"2", b"3"]
    assert queue.dropped == shown() - before == 1


def test_a_full_queue_that_waits_refuses_after_a_while_and_says_so(make_queue):
    queue = make_queue(messages=2)
    queue.publish(b"1")
    queue.publish(b"2")
    with pytest.raises(QueueFullError, match=r"full \(2 messages.*for 0.2 s; is a worker reading it"):
        queue.publish(b"3")
    assert queue.dropped == 0


def test_bytes_fill_a_queue_too_but_one_message_always_fits(make_queue):
    queue = make_queue(bytes=10)
    queue.publish(b"x" * 20)
    with pytest.raises(QueueFullError):
        queue.publish(b"y")
    queue.acknowledge(ids(queue.read("a", 1, 0)))
    queue.publish(b"x" * 6)
    queue.publish(b"x" * 4)
    with pytest.raises(QueueFullError):
        queue.publish(b"y")


def test_what_is_handed_out_takes_room_until_it_is_acknowledged(make_queue):
    queue = make_queue(messages=1)
    queue.publish(b"1")
    handed_out = queue.read("a", 1, 1)
    with pytest.raises(QueueFullError):
        queue.publish(b"2")
    with soon(queue.acknowledge, ids(handed_out)):
        queue.publish(b"2")
    assert bodies(queue.read("a", 1, 1)) == [b"2"]


def test_a_body_does_not_travel_again_while_the_queue_is_full(redis_url):
    import redis  # noqa: PLC0415 - of this test alone

    body = b"x" * 1_000_000
    with redis.Redis.from_url(redis_url) as server:

        def received() -> int:
            return int(server.info("stats")["total_net_input_bytes"])

        queue = RedisQueue(redis_url, QueueLimits(messages=1, publish_timeout_s=0.2))
        queue.publish(body)
        before = received()
        for _ in range(3):
            with pytest.raises(QueueFullError):
                queue.publish(body)
        assert received() - before < 1.1 * len(body)
        queue.acknowledge(ids(queue.read("a", 1, 0)))
        queue.publish(body)
        assert queue.depth() == 1
        queue.close()


def test_what_a_dead_consumer_had_is_claimed_although_the_clock_was_set_back(redis_url):
    import redis  # noqa: PLC0415 - of this test alone

    queue = RedisQueue(redis_url)
    queue.publish(b"a")
    queue.read("dead", 1, 0)
    with redis.Redis.from_url(redis_url) as server:
        stream = "{netwarden}:flows"
        server.restore(stream, 0, handed_out_later(server.dump(stream), 3_600_000), replace=True)
        assert queue.claim("b", 0.1, 10) == []
        time.sleep(0.15)
        assert bodies(queue.claim("b", 0.1, 10)) == [b"a"]
    queue.close()


def handed_out_later(dump: bytes, later_ms: int) -> bytes:
    """A dumped stream whose pending entries were handed out so much later: what a clock set back leaves behind."""
    held, version, now_ms = bytearray(dump[:-10]), dump[-10:-8], time.time_ns() // 1_000_000
    for at in range(len(held) - 7):
        value = int.from_bytes(held[at : at + 8], "little")
        if now_ms - 60_000 < value <= now_ms:
            held[at : at + 8] = (value + later_ms).to_bytes(8, "little")
    crc = 0
    for byte in bytes(held) + version:  # CRC-64 of Jones, as Redis closes a dump with
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return bytes(held) + version + crc.to_bytes(8, "little")


def test_a_full_queue_that_drops_loses_the_oldest_that_nobody_has_and_counts_it(make_queue):
    queue = make_queue(messages=3, when_full="drop_oldest")
    queue.publish(b"0")
    assert bodies(queue.read("a", 1, 0)) == [b"0"]
    for number in range(1, 6):
        queue.publish(b"%d" % number)
    assert bodies(queue.read("a", 10, 0)) == [b"4", b"5"]
    assert queue.dropped == 3
    assert queue.depth() == 3


def test_a_queue_that_drops_also_drops_what_is_too_old(make_queue):
    queue = make_queue(when_full="drop_oldest", max_age_s=0.1)
    queue.publish(b"old")
    time.sleep(0.15)
    queue.publish(b"new")
    assert bodies(queue.read("a", 10, 0)) == [b"new"]
    assert queue.dropped == 1


def test_a_reader_waits_for_a_message_but_not_for_ever(make_queue):
    queue = make_queue()
    began = time.monotonic()
    assert queue.read("a", 1, wait_s=0.1) == []
    assert time.monotonic() - began >= 0.1
    with soon(queue.publish, b"late"):
        assert bodies(queue.read("a", 1, wait_s=5)) == [b"late"]


# --- feeds --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "redis"])
def feed(request) -> Iterator[Feed]:
    """A feed that keeps three entries."""
    made: Feed = (
        MemoryFeed(3)
        if request.param == "memory"
        else RedisFeed(request.getfixturevalue("redis_url"), "scored", entries=3)
    )
    yield made
    made.close()


def test_a_feed_keeps_the_latest_for_every_follower(feed):
    for number in range(5):
        feed.append(b"%d" % number)
    for _ in range(2):
        entries = feed.after("", 10, 0)
        assert [body for _, body in entries] == [b"2", b"3", b"4"]
    assert feed.after(entries[0][0], 1, 0) == entries[1:2]
    assert feed.after(entries[-1][0], 10, 0) == []


def test_a_follower_waits_for_the_next_entry(feed):
    last = feed.append(b"first")
    with soon(feed.append, b"next"):
        assert [body for _, body in feed.after(last, 10, wait_s=5)] == [b"next"]


# --- Redis ----------------------------------------------------------------------------------------------------


def test_a_redis_queue_goes_on_after_its_server_was_emptied(redis_url):
    import redis  # noqa: PLC0415 - for this test alone

    queue = RedisQueue(redis_url)
    queue.publish(b"lost")
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    with pytest.raises(StoreError, match="NOGROUP"):
        queue.read("a", 1, 0)
    queue.publish(b"kept")
    assert bodies(queue.read("a", 9, 0)) == [b"kept"]
    queue.close()


def test_a_redis_that_is_not_there_is_named(free_url):
    queue = RedisQueue(free_url, timeout_s=1)
    with pytest.raises(StoreError, match=r"Redis 127.0.0.1:\d+: no answer .*is it running"):
        queue.publish(b"x")


@pytest.fixture
def free_url() -> str:
    return f"redis://127.0.0.1:{free_port()}/0"
