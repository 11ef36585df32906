"""What every store of the portal's own memory promises."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from netwarden.settings import Settings
from netwarden.sources.connect import open_portal_store
from netwarden.sources.portal_store import AuditLine, PortalStore, line_id

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(settings: Settings) -> Iterator[PortalStore]:
    store = open_portal_store(settings)
    yield store
    store.close()


def line(seconds: int = 0, who: str = "ann", action: str = "promote") -> AuditLine:
    at = NOON + timedelta(seconds=seconds, microseconds=1)
    return AuditLine(line_id(at), at, who, "admin", "192.0.2.7", action, "bundle abc", "the better one")


def test_a_line_comes_back_as_it_was(store):
    written = line()
    store.append(written)
    assert store.lines().lines == [written]


def test_lines_come_newest_first_page_by_page(store):
    written = [line(seconds) for seconds in range(5)]
    for each in written:
        store.append(each)
    first = store.lines(limit=3)
    last = store.lines(limit=3, cursor=first.cursor)
    assert first.lines + last.lines == written[::-1]
    assert last.cursor is None


def test_lines_are_found_by_person_and_action(store):
    store.append(line(0))
    store.append(line(1, who="bob"))
    store.append(line(2, who="bob", action="upload"))
    assert len(store.lines(who="bob").lines) == 2
    assert len(store.lines(who="bob", action="upload").lines) == 1
    assert store.lines(who="eve").lines == []


def test_a_note_is_kept_until_the_next_and_over_a_restart(settings, store):
    assert store.note("notify") == {}
    store.keep_note("notify", {"a.b": [1, None]})
    store.keep_note("notify", {"a.b": [2, "x"]})
    with closing(open_portal_store(settings)) as again:
        assert again.note("notify") == {"a.b": [2, "x"]}


@pytest.mark.parametrize("change", ["UPDATE audit SET who = 'eve'", "DELETE FROM audit"])
def test_the_file_refuses_to_change_what_was_written(embedded_settings, change):
    with closing(open_portal_store(embedded_settings)) as store:
        store.append(line())
    with (
        closing(sqlite3.connect(embedded_settings.home / "portal.sqlite")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="only ever appended to"),
    ):
        connection.execute(change)
