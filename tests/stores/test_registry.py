"""What every registry promises."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from netwarden.errors import NotFoundError
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry, Registry

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    registry = open_registry(settings)
    yield registry
    registry.close()


def entry(bundle_id: str, schema_id: str = "nsl_kdd", minutes: int = 0) -> BundleEntry:
    return BundleEntry(
        bundle_id, schema_id, bundle_id, NOON + timedelta(minutes=minutes), {"f1": 0.97}, {"recall": 0.8}, "run-1"
    )


def add(registry: Registry, *bundle_ids: str) -> None:
    for bundle_id in bundle_ids:
        registry.register(entry(bundle_id), "ann", "trained")


def test_a_registered_bundle_is_a_challenger_and_comes_back_as_it_was(registry):
    assert registry.register(entry("aaaa"), "ann", "trained") is True
    assert registry.entry("aaaa") == entry("aaaa")
    assert registry.champion("nsl_kdd") is None


def test_the_same_bundle_registers_once(registry):
    add(registry, "aaaa")
    assert registry.register(entry("aaaa"), "bob", "again") is False
    assert len(registry.entries()) == len(registry.history()) == 1


def test_entries_come_newest_first_and_by_schema(registry):
    add(registry, "aaaa", "bbbb")
    registry.register(entry("cccc", "cic_flow"), "ann", "trained")
    assert [found.bundle_id for found in registry.entries()] == ["cccc", "bbbb", "aaaa"]
    assert [found.bundle_id for found in registry.entries("nsl_kdd")] == ["bbbb", "aaaa"]


def test_each_schema_has_its_own_champion(registry):
    add(registry, "aaaa")
    registry.register(entry("cccc", "cic_flow"), "ann", "trained")
    registry.promote("aaaa", "ann", "first")
    registry.promote("cccc", "ann", "first")
    assert [registry.champion(schema).bundle_id for schema in ("nsl_kdd", "cic_flow")] == ["aaaa", "cccc"]


def test_a_unique_prefix_is_enough_and_an_ambiguous_one_is_not(registry):
    add(registry, "abc1", "abd2", "ab")
    assert registry.promote("abc", "ann", "best").bundle_id == "abc1"
    assert registry.entry("ab").bundle_id == "ab"  # exactly this one
    with pytest.raises(NotFoundError, match=r"'a' fits 3 bundles: abc1, abd2, ab"):
        registry.entry("a")
    with pytest.raises(NotFoundError, match="no bundle 'zz' is registered"):
        registry.promote("zz", "ann", "typo")
    with pytest.raises(NotFoundError):
        registry.entry("")


def test_rollback_goes_back_through_the_champions_one_by_one(registry):
    add(registry, "aaaa", "bbbb", "cccc")
    for bundle_id in ("aaaa", "bbbb", "cccc"):
        registry.promote(bundle_id, "ann", "better")
    assert registry.rollback("nsl_kdd", "bob", "alerts doubled").bundle_id == "bbbb"
    assert registry.rollback("nsl_kdd", "bob", "still").bundle_id == "aaaa"
    assert registry.champion("nsl_kdd").bundle_id == "aaaa"
    with pytest.raises(NotFoundError, match="schema nsl_kdd has no earlier champion"):
        registry.rollback("nsl_kdd", "bob", "more")


def test_promotion_after_a_rollback_counts_from_there(registry):
    add(registry, "aaaa", "bbbb", "cccc")
    registry.promote("aaaa", "ann", "1")
    registry.promote("bbbb", "ann", "2")
    registry.rollback("nsl_kdd", "ann", "3")
    registry.promote("cccc", "ann", "4")
    assert registry.rollback("nsl_kdd", "ann", "5").bundle_id == "aaaa"


def test_promoting_the_champion_again_leaves_no_trace(registry):
    add(registry, "aaaa")
    registry.promote("aaaa", "ann", "best")
    assert registry.promote("aaaa", "bob", "best").bundle_id == "aaaa"
    assert len(registry.history()) == 2


def test_history_says_who_when_why_and_what_was_before_newest_first(registry):
    add(registry, "aaaa", "bbbb")
    registry.promote("aaaa", "ann", "first", at=NOON)
    registry.promote("bbbb", "bob", "fewer false alarms", at=NOON + timedelta(hours=1))
    newest = registry.history("nsl_kdd")[0]
    assert (newest.action, newest.bundle_id, newest.previous) == ("promote", "bbbb", "aaaa")
    assert (newest.who, newest.why, newest.at) == ("bob", "fewer false alarms", NOON + timedelta(hours=1))
    assert [event.action for event in registry.history()] == ["promote", "promote", "register", "register"]
    assert registry.history("cic_flow") == []


def test_promotions_at_once_leave_one_champion_and_a_history_without_gaps(settings):
    registry = open_registry(settings)
    names = [f"bundle-{number}" for number in range(6)]
    add(registry, *names)
    others = [open_registry(settings) for _ in names]
    start = threading.Barrier(len(names))

    def promote(own: Registry, name: str) -> None:
        start.wait()
        own.promote(name, "ann", "race")

    threads = [threading.Thread(target=promote, args=pair) for pair in zip(others, names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    promotions = [event for event in reversed(registry.history()) if event.action == "promote"]
    assert sorted(event.bundle_id for event in promotions) == names
    assert [event.previous for event in promotions] == [None, *(event.bundle_id for event in promotions[:-1])]
    assert registry.champion("nsl_kdd") == entry(promotions[-1].bundle_id)
    for own in (registry, *others):
        own.close()
