"""What every lease promises."""

import threading
import time
from collections.abc import Iterator

import pytest

from netwarden.errors import StoreError
from netwarden.settings import Settings
from netwarden.sources.connect import open_lease
from netwarden.sources.store import Lease


@pytest.fixture
def leases(settings: Settings) -> Iterator[list[Lease]]:
    """Six doors to the same leases, as six processes would have."""
    leases = [open_lease(settings) for _ in range(6)]
    yield leases
    for lease in leases:
        lease.close()


def test_a_second_holder_is_refused_and_told_who_has_it(leases):
    first, second, *_ = leases
    with (
        first.hold("training", "ann on host-1", ttl_s=30),
        pytest.raises(StoreError, match="training is held by ann on host-1"),
        second.hold("training", "bob on host-2", ttl_s=30),
    ):
        pytest.fail("two held it at once")


def test_a_lease_is_free_again_after_its_block_even_one_that_fails(leases):
    lease = leases[0]
    with pytest.raises(ValueError, match="broken"), lease.hold("training", "ann", ttl_s=30):
        raise ValueError("broken")
    with lease.hold("training", "bob", ttl_s=30):
        pass


def test_a_lease_tells_who_holds_it_and_nobody_afterwards(leases):
    first, second, *_ = leases
    assert second.holder("training") is None
    with first.hold("training", "ann on host-1", ttl_s=30):
        assert second.holder("training") == "ann on host-1"
    assert second.holder("training") is None


def test_leases_of_other_names_do_not_disturb(leases):
    lease = leases[0]
    with lease.hold("training", "ann", ttl_s=30), lease.hold("capture", "bob", ttl_s=30):
        pass


def test_a_block_longer_than_the_lease_keeps_it(leases):
    first, second, *_ = leases
    with first.hold("training", "ann", ttl_s=0.6):
        time.sleep(1.0)
        with pytest.raises(StoreError, match="held by ann"), second.hold("training", "bob", ttl_s=0.6):
            pytest.fail("two held it at once")


def test_the_lease_of_a_holder_that_died_ends_by_itself(leases):
    lease = leases[0]
    # Taken and never renewed, as by a process that was killed.
    assert lease._table.take("training", "ann", "token", ttl_s=0.3) is None
    assert lease.holder("training") == "ann"
    with pytest.raises(StoreError, match="held by ann"), lease.hold("training", "bob", ttl_s=1):
        pytest.fail("two held it at once")
    time.sleep(0.4)
    assert lease.holder("training") is None
    with lease.hold("training", "bob", ttl_s=1):
        pass


def test_of_many_that_ask_at_once_one_gets_it(leases):
    held: list[str] = []
    start = threading.Barrier(6)
    stop = threading.Event()
    refused = threading.Semaphore(0)

    def ask(lease: Lease, name: str) -> None:
        start.wait()
        try:
            with lease.hold("training", name, ttl_s=30):
                held.append(name)
                stop.wait(10)
        except StoreError:
            refused.release()

    threads = [threading.Thread(target=ask, args=(lease, f"h{number}")) for number, lease in enumerate(leases)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        assert refused.acquire(timeout=10)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(held) == 1
