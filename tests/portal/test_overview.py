"""The overview's figures, against the stores they come from."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from netwarden.portal.charts import nice_top, spark, time_chart
from netwarden.portal.watch.roles import Roles
from netwarden.portal.watch.wellbeing import Tracking, stream_component
from netwarden.sources.alert_store import TimeBin
from netwarden.sources.connect import open_alert_store
from netwarden.streaming.heartbeat import Heartbeat
from tests.fixtures.servers import free_port, wait_until
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.stored import made_up_alerts, store_alerts
from tests.portal.streamed import heartbeat, scored, stream, tell


@pytest.fixture(scope="module")
def watch(hybrid_bundle, flows, tmp_path_factory) -> Iterator[Portal]:
    """A portal with alerts in its store and flows in its stream."""
    settings = portal_settings(tmp_path_factory.mktemp("watch"))
    make_champion(settings, hybrid_bundle)
    store_alerts(settings, made_up_alerts(hybrid_bundle, flows.slice(0, 400), datetime.now(UTC)))
    with listening(settings) as running:
        for seconds_ago in (70, 40, 2):
            at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
            stream(settings, scored(hybrid_bundle, flows.slice(0, 500), at))
        yield running


def test_figures_are_those_of_the_alert_store_and_of_the_stream(watch):
    told = watch.client.get("/api/v1/overview").json()
    with closing(open_alert_store(watch.settings)) as store:
        stored = store.find(limit=1000).alerts
    assert told["waiting"] == told["last_day"] == len(stored)
    families: dict[str, int] = {}
    for each in told["timeline"]:
        for name, count in each["counts"].items():
            families[name] = families.get(name, 0) + count
    assert families == {
        name: sum((alert.family or "novel") == name for alert in stored)
        for name in {alert.family or "novel" for alert in stored}
    }
    for field in ("source", "target"):
        counts = {
            name: sum(getattr(alert, field) == name for alert in stored) for name in {getattr(a, field) for a in stored}
        }
        told_counts = {each["name"]: each["count"] for each in told[f"{field}s"]}
        assert told_counts == {name: counts[name] for name in told_counts}
    for each in told["sources"]:
        of_source = [alert.family or "novel" for alert in stored if alert.source == each["name"]]
        assert of_source.count(each["family"]) == max(of_source.count(family) for family in set(of_source))
    assert all(each["family"] is None for each in told["targets"])
    assert (told["watched"][0]["flows"], told["watched"][0]["quiet"]) == (1500, False)
    rate = told["detectors"][0]["rate"]
    assert rate["share"] == pytest.approx(told["watched"][0]["alerts"] / 1500)
    assert rate["flows_per_day"] == pytest.approx(1500 / 68 * 86_400, rel=0.02)
    assert told["expected_per_day"] == pytest.approx(rate["flows_per_day"] * rate["budget"])
    assert told["detectors"][0]["drift"] in ("stable", "some drift", "drifted", "too few flows to tell")


def test_the_state_counts_what_waits_and_is_well_once_all_is_judged(watch):
    told = watch.client.get("/api/v1/overview").json()
    assert (told["state"], told["headline"]) == ("alerts", f"{told['waiting']} alerts need you")
    watch.client.post("/api/v1/triage?state=new", json={"state": "duplicate", "who": "Ada"}).raise_for_status()
    tell(watch.settings, heartbeat("worker", "w"))
    wait_until(lambda: watch.client.get("/api/v1/overview").json()["roles"] != [], "the worker", 5)
    told = watch.client.get("/api/v1/overview").json()
    assert (told["state"], told["headline"], told["waiting"]) == ("well", "All is well", 0)
    assert {part["name"]: part["state"] for part in told["health"]} == {
        "Store": "ok",
        "Detector": "ok",
        "Stream": "ok",
        "Tracking": "ok",
    }


def test_sensors_and_workers_wherever_they_run_are_alive_in_need_or_silent_until_they_say_that_they_ended(watch):
    def stream_is(state: str, detail: str) -> bool:
        health = watch.client.get("/api/v1/overview").json()["health"]
        part = next(each for each in health if each["name"] == "Stream")
        return (part["state"], part["detail"]) == (state, detail)

    def becomes(state: str, detail: str, *beats: Heartbeat) -> None:
        tell(watch.settings, *beats)
        wait_until(lambda: stream_is(state, detail), detail, 5)

    away = {"store": {"ok": False, "detail": "disk full"}}
    edge, ended = heartbeat("sensor", "edge", spooled_batches=1200), heartbeat("worker", "w", ended=True)
    becomes("fault", "1 sensor and no worker: flows wait in the queue", edge, ended)
    becomes("fault", "worker w on host-w:9102: store is away (disk full)", heartbeat(components=away))
    becomes("ok", "1 sensor and 1 worker are alive", heartbeat())
    page = watch.client.get("/overview").text
    assert "sensor edge" in page and "1,200 batches wait on its disk" in page and "57.2 flows/s" in page
    tell(watch.settings, heartbeat("worker", "killed", seconds_ago=60), heartbeat("sensor", "old", seconds_ago=4000))
    with closing(Roles(watch.settings)) as roles:
        found = {role.name: role for role in roles.now()}
        fault = stream_component(watch.settings, "", roles.now())
    assert {name: role.silent for name, role in found.items()} == {"edge": False, "w": False, "killed": True}
    assert found["edge"].notes == ["1,200 batches wait on its disk"]
    assert fault.state == "fault"
    assert "worker killed on host-killed:9102 has given no sign of life since" in fault.detail
    tell(watch.settings, *(heartbeat(role, name, ended=True) for role, name in (("sensor", "edge"), ("sensor", "old"))))
    becomes("ok", "no sensors and 1 worker are alive", heartbeat("worker", "killed", ended=True))


def test_without_a_detector_the_overview_says_what_to_do(empty_portal):
    told = empty_portal.client.get("/api/v1/overview?hours=168").json()
    assert (told["state"], told["headline"]) == ("fault", "Look at the detector")
    detector = next(part for part in told["health"] if part["name"] == "Detector")
    assert detector["advice"] == "Train one, or restore one from the backup"
    page = empty_portal.client.get("/overview", headers={"Accept": "text/html"}).text
    assert "Look at the detector" in page
    assert "netwarden up --interface eth0" in page


def test_a_tracking_server_that_is_away_is_named_without_holding_anybody_up(tmp_path):
    settings = portal_settings(tmp_path).model_copy(update={"mlflow_uri": f"http://127.0.0.1:{free_port()}"})
    tracking = Tracking(settings)
    began = datetime.now(UTC)
    tracking.component()
    assert datetime.now(UTC) - began < timedelta(seconds=0.5)
    wait_until(lambda: tracking.component().state == "fault", "the answer")
    assert "127.0.0.1 does not answer" in tracking.component().detail


def test_columns_stack_to_their_total_and_the_scale_holds_them():
    at = datetime(2026, 5, 1, tzinfo=UTC)
    bins = [TimeBin(at + timedelta(minutes=n), 60, {"dos": n, "novel": 3 if n == 2 else 0}) for n in range(4)]
    chart = time_chart(bins)
    assert chart.totals == {"dos": 6, "novel": 3}
    assert chart.top == 10
    for column in chart.columns:
        assert sum(part.height for part in column.segments) == pytest.approx(column.total / 10 * 100)
    assert [tick.minute for tick in chart.ticks] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("most", "top"), [(0, 4), (4, 4), (5, 10), (11, 20), (39, 40), (41, 100), (1001, 2000)])
def test_a_scale_ends_at_the_next_round_number(most, top):
    assert nice_top(most) == top


def test_a_line_of_less_than_two_values_is_none():
    assert spark([3]) == ""
    assert spark([0, 2]) == "0.0,23.0 100.0,1.0"
