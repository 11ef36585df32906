"""Stored alerts are listed, explained and judged, on pages and to programs."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest

from netwarden.flows.alert import Alert
from netwarden.portal.alerts.details import AlertDetails
from netwarden.portal.alerts.pages import AlertList
from netwarden.scoring.explain import explain
from netwarden.scoring.scorer import Scorer
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.stored import made_up_alerts, store_alerts

HTML = {"Accept": "text/html"}
END = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def stored(hybrid_bundle, flows) -> list[Alert]:
    return made_up_alerts(hybrid_bundle, flows.slice(0, 600), END)


@pytest.fixture(scope="module")
def portal(hybrid_bundle, stored, tmp_path_factory) -> Iterator[Portal]:
    """A portal with alerts of the small hybrid, which is in charge."""
    settings = portal_settings(tmp_path_factory.mktemp("alerts"))
    make_champion(settings, hybrid_bundle)
    store_alerts(settings, stored)
    with listening(settings) as running:
        yield running


@pytest.fixture
def judging(stored, tmp_path) -> Iterator[Portal]:
    """A portal whose alerts a test may judge; no bundle serves."""
    settings = portal_settings(tmp_path)
    store_alerts(settings, stored)
    with listening(settings) as running:
        yield running


def listed(portal: Portal, **query: Any) -> AlertList:
    answer = portal.client.get("/api/v1/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return AlertList.model_validate_json(answer.content)


def test_pages_of_the_api_follow_each_other_newest_first_without_features(portal, stored):
    found: list[Alert] = []
    cursor = None
    while len(found) < len(stored):
        page = listed(portal, limit=100, **({"cursor": cursor} if cursor else {}))
        assert (page.count, page.more) == (len(stored), False)
        found += page.alerts
        cursor = page.cursor
    assert cursor is None
    assert [alert.alert_id for alert in found] == [alert.alert_id for alert in stored]
    assert not any(alert.features for alert in found)


@pytest.mark.parametrize(
    ("query", "meets"),
    [
        ({"family": "dos"}, lambda alert: alert.family == "dos"),
        ({"verdict": "novel"}, lambda alert: alert.verdict == "novel"),
        ({"score_from": "0.9"}, lambda alert: alert.score >= 0.9),
        ({"source": "10.0.0.2"}, lambda alert: alert.source == "10.0.0.2"),
        ({"target": "192.168.1.12"}, lambda alert: alert.target == "192.168.1.12"),
        ({"port": "443"}, lambda alert: alert.target_port == 443),
        ({"protocol": "udp"}, lambda alert: alert.protocol == 17),
        ({"protocol": "6", "sensor": "core"}, lambda alert: alert.protocol == 6 and alert.sensor == "core"),
        ({"from": "2026-11-20T11:50"}, lambda alert: alert.raised_at >= END - timedelta(minutes=10)),
        ({"to": "2026-11-20T12:50:00+01:00"}, lambda alert: alert.raised_at < END - timedelta(minutes=10)),
        ({"state": "new", "family": "", "port": ""}, lambda alert: alert.state == "new"),
        ({"state": "duplicate"}, lambda alert: alert.state == "duplicate"),
    ],
)
def test_the_filter_of_an_address_finds_what_it_says(portal, stored, query, meets):
    expected = [alert.alert_id for alert in stored if meets(alert)]
    page = listed(portal, limit=1000, **query)
    assert [alert.alert_id for alert in page.alerts] == expected
    assert page.count == len(expected)
    shown = portal.client.get("/alerts", params=query, headers=HTML).text
    assert re.findall(r'<td class="nowrap when"><a href="/alerts/(\w+)"', shown) == expected[:50]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"score_from": "high"}, "score_from: "),
        ({"port": "70000"}, "port: "),
        ({"verdict": "odd"}, "verdict: Input should be"),
        ({"from": "yesterday"}, "from: "),
        ({"to": "9999-12-31T00:00:00Z"}, "to: Value error, name a time from 1971 on and before 2200"),
        ({"cursor": "xyz"}, "page cursor 'xyz' is not one"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_in_a_sentence(portal, query, message):
    for address in ("/api/v1/alerts", "/alerts"):
        answer = portal.client.get(address, params=query)
        assert answer.status_code == 422 and message in answer.json()["detail"]


def test_the_list_leads_on_to_older_alerts_and_keeps_its_filter(portal):
    page = portal.client.get("/alerts?verdict=known_attack", headers=HTML).text
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older
    following = portal.client.get(older[1].replace("&amp;", "&"), headers=HTML).text
    first, second = (set(re.findall(r'href="/alerts/(\w{32})"', text)) for text in (page, following))
    assert len(first) == 50 and second and not first & second
    assert "novel</span>" not in following


def test_the_loudest_source_comes_first_by_source_and_the_list_finds_all_of_it(portal, stored):
    [first, *_] = groups = portal.client.get("/api/v1/alerts/groups?view=sources").json()["groups"]
    assert [each["count"] for each in groups] == sorted((each["count"] for each in groups), reverse=True)
    assert sum(each["count"] for each in groups) == len(stored)
    page = portal.client.get("/alerts?view=sources", headers=HTML).text
    leads = re.search(r'<td class="nowrap when"><a href="/alerts\?([^"]+)"', page)
    assert leads
    assert listed(portal, **dict(parse_qsl(leads[1].replace("&amp;", "&")))).count == first["count"]
    counts = [each["count"] for each in portal.client.get("/api/v1/alerts/groups?sort=count").json()["groups"]]
    assert counts == sorted(counts, reverse=True)


def test_hiding_leads_back_to_the_list_that_one_came_from(portal):
    list_address = "/alerts?state=new&view=repeats&sort=count"
    seen = portal.client.get(
        "/suppressions/new?family=dos", headers={**HTML, "Referer": f"http://portal{list_address}"}
    )
    assert f'href="{list_address.replace("&", "&amp;")}">Leave them' in seen.text
    for elsewhere in ("https://elsewhere.example/alerts", "//elsewhere.example", "/alerts/../logout"):
        page = portal.client.get("/suppressions", params={"back": elsewhere}, headers=HTML).text
        assert 'href="/alerts?state=new">Alerts</a></p>' in page


def test_a_portal_without_alerts_teaches_how_to_get_some(empty_portal):
    page = empty_portal.client.get("/alerts?state=new", headers=HTML).text
    assert "No alert yet" in page and "netwarden up --interface" in page
    assert listed(empty_portal).alerts == []


def test_an_alert_tells_why_with_the_reasons_of_the_bundle_that_raised_it(portal, stored, hybrid_bundle, flows):
    alert = next(each for each in stored if each.family == "dos")
    row = int(alert.flow_id.removeprefix("flow-"))
    told = AlertDetails.model_validate_json(portal.client.get(f"/api/v1/alerts/{alert.alert_id}?top=41").content)
    assert told.alert == alert and not told.unexplained
    texts = sorted(reason.text for each in told.evidence for reason in each.reasons)
    assert texts == sorted(each.text for each in explain(hybrid_bundle, flows.slice(row, 1), top=82)[0])
    assert float(Scorer(hybrid_bundle).score(flows.slice(row, 1)).column("score")[0].as_py()) == alert.score
    assert told.meaning and (told.meaning.technique, told.meaning.title) == ("T1498", "Denial of service")
    assert told.community_id == alert.features["community_id"]


def test_an_alert_s_page_shows_all_features_technique_and_what_its_endpoints_raised(portal, stored, flows):
    alert = next(each for each in stored if each.family == "dos")
    page = portal.client.get(f"/alerts/{alert.alert_id}", headers=HTML).text
    for column in flows.arrow.drop_columns(["label", "family"]).column_names:
        assert f"<code>{column}</code>" in page
    assert "ATT&amp;CK T1498" in page and "a service or a network is made unusable" in page.lower()
    assert f"Alerts from {alert.source}" in page and f"Alerts at {alert.target}" in page
    assert "Like known attacks" in page and "Unlike benign flows" in page
    raw = re.search(r'<pre class="log" tabindex="0"><code>(.*?)</code>', page, re.DOTALL)
    assert raw and json.loads(raw[1].replace("&#34;", '"'))["alert_id"] == alert.alert_id


def test_related_alerts_are_those_of_the_same_endpoint_and_never_itself(portal, stored):
    alert = stored[5]
    told = AlertDetails.model_validate_json(portal.client.get(f"/api/v1/alerts/{alert.alert_id}").content)
    source, target = told.related
    assert source.count == sum(other.source == alert.source for other in stored)
    assert {other.source for other in source.alerts} == {alert.source}
    assert {other.target for other in target.alerts} == {alert.target}
    assert alert.alert_id not in {other.alert_id for other in source.alerts + target.alerts}


def test_without_its_bundle_an_alert_still_shows_what_is_stored(judging, stored):
    alert = stored[0]
    told = AlertDetails.model_validate_json(judging.client.get(f"/api/v1/alerts/{alert.alert_id}").content)
    assert told.evidence == [] and alert.bundle_id in told.unexplained
    page = judging.client.get(f"/alerts/{alert.alert_id}", headers=HTML)
    assert page.status_code == 200 and "No reasons at hand" in page.text and "<code>src_bytes</code>" in page.text


def test_an_alert_that_is_not_there_is_said_to_be_missing(portal):
    for method, address in (("GET", "/alerts/x"), ("GET", "/api/v1/alerts/x"), ("POST", "/api/v1/alerts/x/triage")):
        answer = portal.client.request(method, address, json={"state": "new"} if method == "POST" else None)
        assert answer.status_code == 404 and "no alert 'x'" in answer.json()["detail"]


def test_one_alert_is_judged_and_the_page_tells_by_whom(judging, stored):
    address = f"/alerts/{stored[3].alert_id}"
    form = {"state": "benign_positive", "note": "our own <scan>", "who": "Ada"}
    answer = judging.client.post(f"{address}/triage", data=form, headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, address)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    page = judging.client.get(address, headers=HTML).text
    assert "our own &lt;scan&gt;" in page and "Ada (127.0.0.1)" in page and 'value="Ada"' in page
    assert listed(judging, state="benign_positive").count == 1


def test_all_that_match_are_judged_with_an_exact_count_and_taken_back(judging, stored):
    many = sum(alert.source == "10.0.0.2" for alert in stored)
    page = judging.client.get("/triage/all?source=10.0.0.2&state=new", headers=HTML).text
    assert f"Save for all {many}" in page
    action = re.search(r'action="(/triage/all[^"]+)"', page)
    assert action
    late = stored[0].model_copy(
        update={"alert_id": "late", "source": "10.0.0.2", "raised_at": datetime.now(UTC) + timedelta(seconds=5)}
    )
    store_alerts(judging.settings, [late])
    form = {"state": "false_positive", "note": "the backup", "who": "Ada"}
    answer = judging.client.post(action[1].replace("&amp;", "&"), data=form, headers=HTML)
    told = judging.client.get(answer.headers["location"], headers=HTML).text
    assert f"{many} alerts are now <strong>false positive</strong>" in told
    assert listed(judging, state="false_positive").count == many
    assert [alert.alert_id for alert in listed(judging, source="10.0.0.2", state="new").alerts] == ["late"]
    undo = re.search(r'action="(/triage/[^"]+/undo)"', told)
    assert undo
    answer = judging.client.post(undo[1], headers=HTML)
    assert f"Taken back: {many} alerts" in judging.client.get(answer.headers["location"], headers=HTML).text
    assert listed(judging, state="false_positive").count == 0
    trail = judging.client.get("/api/v1/triage").json()["decisions"]
    assert [(act["state"], act["changed"], act["who"]) for act in trail] == [
        (None, many, "Ada (127.0.0.1)"),
        ("false_positive", many, "Ada (127.0.0.1)"),
    ]
    assert trail[0]["undoes"] == trail[1]["act_id"] and "source 10.0.0.2" in trail[1]["chosen"]
    assert "the backup" in judging.client.get("/triage", headers=HTML).text


def test_programs_judge_all_that_match_but_never_all_there_is_by_accident(judging, stored):
    url = "/api/v1/triage"
    act = judging.client.post(url, params={"family": "dos"}, json={"state": "duplicate", "who": "bot"}).json()
    assert act["changed"] == sum(alert.family == "dos" for alert in stored)
    answer = judging.client.post(url, json={"state": "duplicate"})
    assert answer.status_code == 422 and "no filter is given" in answer.json()["detail"]
    answer = judging.client.post(url, params={"family": "dos"}, json={"state": "fine"})
    assert answer.status_code == 422 and "state: " in answer.json()["detail"]
    assert judging.client.post(f"{url}/{act['act_id']}/undo", json={}).json()["changed"] == act["changed"]
    answer = judging.client.post(f"{url}/nothing/undo", json={})
    assert answer.status_code == 404 and "no act of triage 'nothing'" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/triage/all", "/api/v1/triage?family=dos", "/alerts/{}/triage", "/triage/x/undo"])
def test_another_site_cannot_judge(judging, stored, path):
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = judging.client.post(path.format(stored[0].alert_id), data={"state": "false_positive"}, headers=headers)
        assert answer.status_code == 403 and "another site" in answer.json()["detail"]
    assert listed(judging, state="false_positive").count == 0


def test_alerts_that_come_in_are_told_within_two_seconds_if_they_meet_the_filter(judging, stored):
    address = f"/api/v1/alerts/events?source=10.0.0.2&from={datetime.now(UTC):%Y-%m-%dT%H:%M:%S}"
    with judging.client.stream("GET", address) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": watching"
        now = datetime.now(UTC) + timedelta(seconds=1)
        facts = [("theirs", "10.0.0.9"), ("a", "10.0.0.2"), ("b", "10.0.0.2")]
        later = [{"alert_id": name, "source": source, "raised_at": now} for name, source in facts]
        store_alerts(judging.settings, [stored[0].model_copy(update=each) for each in later])
        started = time.monotonic()
        told = next(line for line in lines if line.startswith("data: "))
    assert json.loads(told.removeprefix("data: ")) == {"count": 2, "more": False}
    assert time.monotonic() - started < 2


def test_only_who_is_logged_in_sees_or_judges_alerts(portal):
    forwarded = {"X-Forwarded-For": "203.0.113.7"}  # somebody elsewhere, by way of a proxy here
    assert portal.client.get("/api/v1/alerts", headers=forwarded).status_code == 401
    assert portal.client.post("/api/v1/triage?family=dos", json={}, headers=forwarded).status_code == 401
