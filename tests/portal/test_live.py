"""What the live page knows of the stream: rates, filters, bounds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from netwarden.portal.watch.live_facts import LiveQuery, live
from netwarden.portal.watch.scored_flows import ScoredFlows
from netwarden.sources.connect import open_feed
from tests.fixtures.servers import wait_until
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.streamed import scored, stream

EVERYTHING = LiveQuery()


@pytest.fixture
def followed(tmp_path) -> Iterator[ScoredFlows]:
    """Scored flows of a deployment of its own, followed."""
    follower = ScoredFlows(portal_settings(tmp_path))
    follower.lately()
    yield follower
    follower.close()


@pytest.fixture(scope="module")
def watching(bundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal that follows a stream, with 300 flows in it."""
    settings = portal_settings(tmp_path_factory.mktemp("watching"))
    make_champion(settings, bundle)
    with listening(settings) as portal:
        yield portal


def test_rates_delays_and_sensors_come_from_the_feed(tmp_path, followed, bundle, flows):
    at = datetime.now(UTC) - timedelta(seconds=3)
    batch = scored(bundle, flows.slice(0, 500), at)
    stream(portal_settings(tmp_path), batch)
    wait_until(lambda: followed.lately().flows == 500, "flows")
    now = live(followed.lately(), EVERYTHING)
    alerts = sum(batch.flows.column("score").to_numpy() >= batch.flows.column("threshold").to_numpy())
    assert (now.state, now.flows, now.alerts) == ("flowing", 500, alerts)
    assert now.flows_per_s == 50
    assert now.protocols == {"TCP": 37.5, "UDP": 12.5}
    assert sum(now.verdicts.values()) == pytest.approx(50)
    assert now.delay_ms["p50"] == 40
    assert sum(now.series["flows"]) == 500
    assert [(each.sensor, each.origin, each.flows) for each in now.sensors] == [("edge", "live", 500)]


@pytest.mark.parametrize(
    ("query", "meets"),
    [
        (LiveQuery(source="10.0.0.2"), lambda row: row.source == "10.0.0.2"),
        (LiveQuery(target="192.168.1.8/29"), lambda row: row.target in {f"192.168.1.{n}" for n in range(8, 16)}),
        (LiveQuery(protocol="udp"), lambda row: row.protocol == "UDP"),
        (LiveQuery(family="attack"), lambda row: row.alert_id is not None),
        (LiveQuery(family="dos"), lambda row: row.family == "dos"),
    ],
)
def test_a_filter_shows_the_flows_that_meet_it(tmp_path, followed, bundle, flows, query, meets):
    stream(portal_settings(tmp_path), scored(bundle, flows.slice(0, 120)))
    wait_until(lambda: followed.lately().flows == 120, "flows")
    everything, found = (live(followed.lately(), asked).rows for asked in (EVERYTHING, query))
    assert found == [row for row in everything if meets(row)]
    assert 0 < len(found) < len(everything)


def test_what_is_kept_is_bounded_however_much_flows(tmp_path, followed, bundle, flows):
    batch = scored(bundle, flows.slice(0, 3000))
    stream(portal_settings(tmp_path), *[batch] * 40)
    wait_until(lambda: followed.lately().flows == 120_000, "flows")
    known = followed.lately()
    assert len(known.rows) == 2000
    assert len(known.seconds) <= 600
    now = live(known, EVERYTHING, limit=40)
    assert len(now.rows) == 40
    assert now.skipped == 1960


def test_rows_behind_a_cursor_come_once_and_a_cursor_from_before_a_restart_begins_anew(
    tmp_path, followed, bundle, flows
):
    stream(portal_settings(tmp_path), scored(bundle, flows.slice(0, 20)))
    wait_until(lambda: followed.lately().flows == 20, "flows")
    first = live(followed.lately(), EVERYTHING)
    assert live(followed.lately(), EVERYTHING, after=first.cursor).rows == []
    assert live(followed.lately(), EVERYTHING, after=10**9).rows == first.rows


def test_what_is_no_batch_is_passed_over(tmp_path, followed, bundle, flows):
    feed = open_feed(portal_settings(tmp_path))
    feed.append(b"no batch")
    stream(portal_settings(tmp_path), scored(bundle, flows.slice(0, 5)))
    wait_until(lambda: followed.lately().flows == 5, "flows")


def test_without_flows_the_state_says_so(followed):
    now = live(followed.lately(), EVERYTHING)
    assert (now.state, now.rows, now.delay_ms) == ("nothing", [], {})


def test_the_api_and_its_events_tell_of_a_flow_within_two_seconds(watching, bundle, flows):
    before = watching.client.get("/api/v1/live").json()
    stream(watching.settings, scored(bundle, flows.slice(0, 3)))
    with watching.client.stream("GET", f"/api/v1/live/events?after={before['cursor']}") as events:
        began = datetime.now(UTC)
        told = ""
        for line in events.iter_lines():
            told += line
            if '"flow_id"' in told or '"number"' in told:
                break
    assert datetime.now(UTC) - began < timedelta(seconds=2)
    assert watching.client.get("/api/v1/live").json()["flows"] == before["flows"] + 3


def test_a_filter_that_is_no_address_is_refused_in_words(watching):
    answer = watching.client.get("/api/v1/live?source=everybody")
    assert answer.status_code == 422
    assert "'everybody' is no address and no network such as 10.0.0.0/8" in answer.json()["detail"]
