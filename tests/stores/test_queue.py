"""What every queue promises."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from netwarden.errors import StoreError
from netwarden.sources.memory_queue import MemoryQueue
from netwarden.sources.store import Queue

MakeQueue = Callable[..., Queue]


@pytest.fixture(params=["memory"])
def make_queue() -> Iterator[MakeQueue]:
    """Queues of a capacity and a way to treat a full one; publish waits for 0.2 s at most."""
    made: list[Queue] = []

    def make(capacity: int = 100, when_full: str = "wait") -> Queue:
        queue = MemoryQueue(capacity, when_full, publish_timeout_s=0.2)  # type: ignore[arg-type]
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


def bodies(messages):
    return [message.body for message in messages]


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
    assert [message.message_id for message in messages] == given
    assert len(set(given)) == 2
    assert [message.deliveries for message in messages] == [1, 1]


def test_a_message_counts_until_it_is_acknowledged(make_queue):
    queue = make_queue()
    queue.publish(b"x")
    (message,) = queue.read("a", 1, 0)
    assert queue.depth() == 1
    queue.acknowledge([message.message_id, "unknown"])
    queue.acknowledge([message.message_id])
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


def test_a_dead_letter_leaves_the_queue_and_keeps_its_reason(make_queue):
    queue = make_queue()
    queue.publish(b"broken")
    (message,) = queue.read("a", 1, 0)
    queue.dead_letter(message, "not an Arrow stream")
    assert queue.depth() == 0
    ((kept, reason),) = queue.dead_letters()
    assert (kept.body, reason) == (b"broken", "not an Arrow stream")


def test_a_full_queue_that_waits_refuses_after_a_while_and_says_so(make_queue):
    queue = make_queue(capacity=2)
    queue.publish(b"1")
    queue.publish(b"2")
    with pytest.raises(StoreError, match=r"full \(2 messages\) for 0.2 s; is a worker reading it"):
        queue.publish(b"3")
    assert queue.dropped == 0


def test_a_waiting_publisher_goes_on_when_there_is_room(make_queue):
    queue = make_queue(capacity=1)
    queue.publish(b"1")
    publisher = threading.Thread(target=queue.publish, args=(b"2",))
    publisher.start()
    assert bodies(queue.read("a", 1, 1)) == [b"1"]
    assert bodies(queue.read("a", 1, 1)) == [b"2"]
    publisher.join()


def test_a_full_queue_that_drops_loses_the_oldest_and_counts_it(make_queue):
    queue = make_queue(capacity=2, when_full="drop_oldest")
    for number in range(5):
        queue.publish(b"%d" % number)
    assert bodies(queue.read("a", 10, 0)) == [b"3", b"4"]
    assert queue.dropped == 3


def test_a_reader_waits_for_a_message_but_not_for_ever(make_queue):
    queue = make_queue()
    began = time.monotonic()
    assert queue.read("a", 1, wait_s=0.1) == []
    assert time.monotonic() - began >= 0.1
    threading.Timer(0.05, queue.publish, [b"late"]).start()
    assert bodies(queue.read("a", 1, wait_s=5)) == [b"late"]
