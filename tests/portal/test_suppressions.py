"""What need not be looked at is hidden, told and shown again, on pages and to programs; old alerts are forgotten."""

import io
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from httpx_ws import WebSocketSession, WebSocketUpgradeError, connect_ws

from netwarden.capture.pcap import read_capture
from netwarden.capture.recent import RecentPackets
from netwarden.capture.recent_socket import packets_served
from netwarden.flows.alert import Alert
from netwarden.portal.alerts.retention import ClearingUp
from netwarden.sections import NetworksSettings, RetentionSettings
from netwarden.sources.connect import open_alert_store
from netwarden.streaming.sensor import packets_socket
from netwarden.triage.retention import forget_old_alerts
from tests.capture.test_recent import OURS, batch_of, table_of
from tests.portal.conftest import Portal, listening, portal_settings
from tests.portal.stored import store_alerts

HTML = {"Accept": "text/html"}
NOW = datetime.now(UTC).replace(microsecond=0)
FLOW = "ab" * 16


def made(number: int, **facts: object) -> Alert:
    """Alert number N, N minutes ago: a scan by one of five hosts, from outside to one of ours."""
    at = NOW - timedelta(minutes=number)
    fields = {
        "alert_id": f"{number:032x}",
        "flow_id": FLOW,
        "bundle_id": "b1",
        "schema_id": "netwarden_flow",
        "raised_at": at,
        "started_at": at,
        "score": 0.9,
        "threshold": 0.5,
        "verdict": "known_attack",
        "family": "probe",
        "source": f"203.0.113.{number % 5}",
        "source_port": 40_000,
        "target": "10.0.0.5",
        "target_port": 22,
        "protocol": 6,
        "sensor": "edge",
        "features": {"community_id": "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", "rate": 1.5},
    }
    return Alert.model_validate({**fields, **facts})


@pytest.fixture(scope="module")
def portal(tmp_path_factory) -> Iterator[Portal]:
    settings = portal_settings(tmp_path_factory.mktemp("suppressions")).model_copy(
        update={"networks": NetworksSettings(home=["10.0.0.0/8"], assets={"10.0.0.5": "db"})}
    )
    more = [
        made(40, source="10.0.0.7", target="10.0.0.5"),
        made(41, source="10.0.0.7", target="203.0.113.1", family=None, verdict="novel"),
        made(42, source=None, target=None),
    ]
    store_alerts(settings, [made(number) for number in range(20)] + more)
    with listening(settings) as running:
        yield running


def count(portal: Portal, query: str) -> int:
    answer = portal.client.get(f"/api/v1/alerts?{query}")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["count"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("direction=inbound", 20),
        ("direction=lateral", 1),
        ("direction=outbound", 1),
        ("direction=external", 0),
        ("direction=inbound&source=203.0.113.1", 4),
        ("source=203.0.113.0/30", 16),
        ("target=db", 21),
        ("text=novel", 1),
        (f"text={4:032x}", 1),
        (f"text={'f' * 32}", 0),
        ("text=203.0.113.* probe", 20),
        ("score_to=0.9", 0),
        ("score_from=0.9&score_to=1", 23),
    ],
)
def test_alerts_are_found_by_direction_network_name_of_a_machine_words_and_scores(portal, query, expected):
    assert count(portal, query) == expected
    assert portal.client.get(f"/api/v1/alerts/count?{query}").json() == {"count": expected}


def test_what_is_no_network_is_refused_in_a_sentence(portal):
    answer = portal.client.get("/api/v1/alerts?source=10.0.0/8")
    assert answer.status_code == 422 and "'10.0.0/8' is not a network" in answer.json()["detail"]


def test_repeats_stand_together_with_their_counts_and_lead_to_their_alerts(portal):
    groups = portal.client.get("/api/v1/alerts/groups?direction=inbound").json()["groups"]
    assert [(one["source"], one["count"], one["newest"]) for one in groups] == [
        (f"203.0.113.{number}", 4, f"{number:032x}") for number in range(5)
    ]
    page = portal.client.get("/alerts?view=repeats&direction=inbound", headers=HTML).text
    assert page.count('class="number repeat-count"><strong>4<') == 5
    link = re.search(r'class="nowrap when"><a href="([^"]+)"', page)
    assert link
    assert portal.client.get(link[1].replace("&amp;", "&"), headers=HTML).text.count('class="nowrap when"') == 4


def test_the_timeline_tells_what_the_list_holds_and_each_column_leads_to_its_alerts(portal):
    bins = portal.client.get("/api/v1/alerts/timeline?direction=inbound&bins=10").json()
    assert sum(one["counts"].get("probe", 0) for one in bins) == 20
    page = portal.client.get("/alerts?direction=inbound", headers=HTML).text
    links = re.findall(r'<a href="(/alerts\?direction=inbound&amp;from=[^"]+)"', page)
    assert sum(count(portal, link.partition("?")[2].replace("&amp;", "&")) for link in links) == 20


def test_all_that_match_come_as_json_lines_with_their_features(portal):
    answer = portal.client.get("/api/v1/alerts/export.jsonl?source=203.0.113.1")
    assert "attachment" in answer.headers["content-disposition"]
    alerts = [Alert.model_validate_json(line) for line in answer.text.splitlines()]
    assert [alert.alert_id for alert in alerts] == [f"{number:032x}" for number in (1, 6, 11, 16)]
    assert alerts[0].features["rate"] == 1.5


def test_an_alert_leaves_in_the_forms_of_suricata_and_elastic(portal):
    address = f"/api/v1/alerts/{3:032x}"
    eve = portal.client.get(f"{address}.eve.json").json()
    assert (eve["event_type"], eve["src_ip"], eve["dest_port"], eve["proto"]) == ("alert", "203.0.113.3", 22, "TCP")
    assert eve["alert"]["signature"] == "Netwarden: Probe" and eve["community_id"].startswith("1:LQU9")
    assert datetime.strptime(eve["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z") == made(3).raised_at
    ecs = portal.client.get(f"{address}.ecs.json").json()
    assert ecs["event"]["kind"] == "alert" and ecs["source"] == {"ip": "203.0.113.3", "port": 40_000}
    assert ecs["network"]["direction"] == "inbound" and ecs["threat"]["technique"]["id"] == ["T1046"]
    bare = portal.client.get(f"/api/v1/alerts/{42:032x}.ecs.json").json()
    assert bare["source"] == {"port": 40_000}


def test_an_alert_s_page_names_machines_direction_technique_and_neighbours(portal):
    page = portal.client.get(f"/alerts/{3:032x}", headers=HTML).text
    assert '<span class="asset">db</span>' in page and "inbound" in page
    assert "Network service discovery" in page and "Asks hosts and ports which services run there" in page
    told = portal.client.get(f"/api/v1/alerts/{3:032x}").json()
    assert [one["alert_id"] for one in told["nearby"]] == [f"{number:032x}" for number in (0, 1, 2, 4, 5, 6, 7)]


def test_packets_that_are_not_at_hand_are_said_to_be_missing_with_what_to_do(portal):
    answer = portal.client.get(f"/api/v1/alerts/{3:032x}.pcap")
    assert answer.status_code == 404 and "--recent-packets" in answer.json()["detail"]
    assert ".pcap" not in portal.client.get(f"/alerts/{3:032x}", headers=HTML).text


def test_packets_come_from_the_sensor_of_this_machine(portal):
    recent = RecentPackets()
    recent.keep(batch_of(OURS))
    recent.note(table_of(OURS))
    flow_id = table_of(OURS).arrow.column("flow_id")[0].as_py()
    store_alerts(portal.settings, [made(50, flow_id=flow_id, family="dos")])
    path = packets_socket(portal.settings)
    path.parent.mkdir(parents=True)
    with packets_served(recent, path):
        assert ".pcap" in portal.client.get(f"/alerts/{50:032x}", headers=HTML).text
        answer = portal.client.get(f"/api/v1/alerts/{50:032x}.pcap")
        gone = portal.client.get(f"/api/v1/alerts/{3:032x}.pcap")
    (frames,) = read_capture(io.BytesIO(answer.content))
    assert len(frames.records) == len(OURS) and "alert-00000000.pcap" in answer.headers["content-disposition"]
    assert gone.status_code == 404 and "no flow of late has id" in gone.json()["detail"]


def test_a_scanner_is_hidden_for_a_week_from_one_of_its_alerts_and_shown_again(portal):
    page = portal.client.get(f"/alerts/{4:032x}", headers=HTML).text
    link = re.search(r'href="(/suppressions/new[^"]+)"', page)
    assert link
    form = portal.client.get(link[1].replace("&amp;", "&"), headers=HTML).text
    assert '<strong id="count" class="number">4</strong>' in form and "target</span> 10.0.0.5" in form
    action = re.search(r'action="(/suppressions[^"]+)"', form)
    assert action
    asked = {"days": "7", "reason": "our own <scanner>", "who": "Ada"}
    answer = portal.client.post(action[1].replace("&amp;", "&"), data=asked, headers=HTML)
    told = portal.client.get(answer.headers["location"], headers=HTML).text
    assert "our own &lt;scanner&gt;" in told and "family probe, source 203.0.113.4" in told
    [made_one] = portal.client.get("/api/v1/suppressions").json()["suppressions"]
    assert (made_one["hidden"], made_one["owner"], made_one["active"]) == (4, "Ada (127.0.0.1)", True)
    assert datetime.fromisoformat(made_one["expires_at"]) - datetime.fromisoformat(made_one["created_at"]) == timedelta(
        7
    )
    store_alerts(portal.settings, [made(-1, source="203.0.113.4")])
    assert [count(portal, f"source=203.0.113.4&suppressed={how}") for how in ("no", "yes", "all")] == [0, 5, 5]
    assert count(portal, f"suppression={made_one['suppression_id']}") == 5
    assert portal.client.get("/api/v1/suppressions").json()["suppressions"][0]["hidden"] == 5
    assert portal.client.post(f"/suppressions/{made_one['suppression_id']}/lift", headers=HTML).status_code == 303
    assert count(portal, "source=203.0.113.4") == 5
    lines = portal.client.get("/api/v1/audit").json()["lines"]
    assert [line["action"] for line in lines[:2]] == ["lift suppression", "suppress"]


def test_programs_suppress_by_any_filter_but_never_everything(portal):
    hides = {"reason": "measured", "who": "bot"}
    answer = portal.client.post("/api/v1/suppressions?text=novel&direction=outbound", json=hides)
    assert (answer.status_code, answer.json()["hidden"], answer.json()["expires_at"]) == (201, 1, None)
    assert portal.client.post(f"/api/v1/suppressions/{answer.json()['suppression_id']}/lift").json()["hidden"] == 0
    for query, message in (("state=new", "would hide every alert"), ("source=x/y", "is not a network")):
        answer = portal.client.post(f"/api/v1/suppressions?{query}", json=hides)
        assert answer.status_code == 422 and message in answer.json()["detail"]
    answer = portal.client.post("/api/v1/suppressions?family=dos", json={"reason": ""})
    assert answer.status_code == 422 and "reason" in answer.json()["detail"]
    assert portal.client.post("/api/v1/suppressions/nothing/lift").status_code == 404


def test_a_web_socket_tells_of_alerts_that_come_and_lets_no_other_site_listen(portal):
    socket: WebSocketSession
    with connect_ws("/ws/alerts?family=worm", portal.client) as socket:
        store_alerts(portal.settings, [made(-5, family="worm", raised_at=datetime.now(UTC) + timedelta(seconds=5))])
        assert socket.receive_json(timeout=3) == {"count": 1, "more": False}
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Forwarded-For": "203.0.113.7"}, 401),
    ):
        with (
            pytest.raises(WebSocketUpgradeError) as refused,
            connect_ws("/ws/alerts", portal.client, headers=headers),
        ):
            pass
        assert refused.value.response.status_code == status


def test_a_web_socket_with_a_filter_that_means_nothing_is_refused(portal):
    with pytest.raises(WebSocketUpgradeError), connect_ws("/ws/alerts?source=x/y", portal.client):
        pass


def test_old_alerts_are_forgotten_by_their_state_and_the_rest_stays(tmp_path):
    settings = portal_settings(tmp_path).model_copy(
        update={"retention": RetentionSettings(new_days=2, duplicate_days=1)}
    )
    days = [made(number, raised_at=NOW - timedelta(days=number)) for number in range(5)]
    store_alerts(settings, days)
    with listening(settings) as portal:
        portal.client.post(f"/api/v1/alerts/{2:032x}/triage", json={"state": "true_positive"}).raise_for_status()
        portal.client.post(f"/api/v1/alerts/{1:032x}/triage", json={"state": "duplicate"}).raise_for_status()
        assert portal.client.get("/health").json()["retention"]["at"] is None
        done = portal.client.post("/api/v1/retention").json()
        assert done["removed"] == {"new": 2, "duplicate": 1} and done["fault"] == ""
        assert portal.client.get("/health").json()["retention"] == done == portal.client.get("/api/v1/retention").json()
        left = [one["alert_id"] for one in portal.client.get("/api/v1/alerts").json()["alerts"]]
        assert left == [f"{number:032x}" for number in (0, 2)]


def test_clearing_up_ends_in_time_and_goes_on_the_next_time(tmp_path):
    settings = portal_settings(tmp_path)
    store_alerts(settings, [made(number, raised_at=NOW - timedelta(days=400)) for number in range(3)])
    with closing(open_alert_store(settings)) as store:
        kept = RetentionSettings()
        assert forget_old_alerts(store, kept, NOW, 1.0, clock=iter(range(0, 90, 9)).__next__) == {}
        assert forget_old_alerts(store, kept, NOW, 60.0) == {"new": 3}


def test_a_store_that_is_away_is_told_and_not_fatal(tmp_path):
    settings = portal_settings(tmp_path)
    (tmp_path / "home").write_text("not a folder")
    with closing(open_alert_store(settings)) as store:
        assert "is NETWARDEN_HOME right?" in ClearingUp(settings, store).once(NOW).fault
