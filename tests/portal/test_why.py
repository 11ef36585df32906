"""Each row of a scored file says why, on a page and to programs, by the bundle that scored it."""

import io
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pyarrow.csv as pacsv
import pytest

from netwarden.detectors.bundle import derive_bundle
from netwarden.flows.schema import load_schema
from netwarden.portal.reference import Why
from netwarden.portal.uploads.uploads import find_upload
from netwarden.scoring.explain import explain
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.portal.conftest import Portal, listening, make_champion, portal_settings

JSON, HTML = {"Accept": "application/json"}, {"Accept": "text/html"}


@pytest.fixture(scope="module")
def portal(hybrid_bundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal with the small hybrid in charge, which knows both kinds of evidence."""
    settings = portal_settings(tmp_path_factory.mktemp("why"), page_rows=50)
    make_champion(settings, hybrid_bundle)
    with listening(settings) as running:
        yield running


@pytest.fixture(scope="module")
def sent(portal, flows) -> Any:
    """What the portal says of 400 flows, in a file."""
    csv = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 400), csv)
    answer = portal.client.post("/predict", files={"file": ("night.csv", csv.getvalue())}, headers=JSON)
    return answer.json()


@pytest.fixture(scope="module")
def alerts(sent) -> list[int]:
    return [row["row"] for row in sent["predictions"] if row["prediction"]]


def reasons_of(portal, sent, row, **query):
    return portal.client.get(f"/api/v1/uploads/{sent['id']}/rows/{row}/why", params=query)


def test_programs_get_what_the_python_api_says_of_the_same_flow(portal, sent, alerts, flows, hybrid_bundle):
    for row in (alerts[0], alerts[len(alerts) // 2], alerts[-1]):
        why = Why.model_validate_json(reasons_of(portal, sent, row, top=41).content)
        told = [reason.text for each in why.evidence for reason in each.reasons]
        assert sorted(told) == sorted(each.text for each in explain(hybrid_bundle, flows.slice(row, 1), top=82)[0])
        for each in why.evidence:
            assert each.base + sum(reason.share for reason in each.reasons) == pytest.approx(each.total, abs=1e-4)
        said = next(each for each in sent["predictions"] if each["row"] == row)
        assert (why.row, why.score, why.verdict, why.family) == (row, said["score"], said["verdict"], said["family"])


def test_alerts_of_a_file_join_the_stored_ones_on_request_once(portal, sent, alerts, flows):
    assert portal.client.get("/api/v1/alerts").json()["count"] == 0
    for added in (len(alerts), 0):
        kept = portal.client.post(f"/api/v1/uploads/{sent['id']}/alerts").json()
        assert kept == {"alerts": len(alerts), "added": added}
    answer = portal.client.post(f"/uploads/{sent['id']}/alerts", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts?sensor=night.csv")
    listed = portal.client.get("/api/v1/alerts?limit=1000&sensor=night.csv").json()["alerts"]
    assert sorted(each["score"] for each in listed) == sorted(
        row["score"] for row in sent["predictions"] if row["prediction"]
    )
    told = portal.client.get(f"/api/v1/alerts/{listed[0]['alert_id']}").json()
    assert told["evidence"] and told["alert"]["origin"] == "upload"
    assert set(told["alert"]["features"]) == {name for name in flows.names if name not in ("label", "family")}
    missing = portal.client.post("/api/v1/uploads/nothing/alerts")
    assert missing.status_code == 404


def test_so_many_reasons_of_each_kind_are_given_as_asked_for(portal, sent, alerts):
    for query, many in (({}, 5), ({"top": 2}, 2)):
        evidence = reasons_of(portal, sent, alerts[0], **query).json()["evidence"]
        assert [each["part"] for each in evidence] == ["supervised", "novelty"]
        assert [len(each["reasons"]) for each in evidence] == [many, many]
    assert "top: " in reasons_of(portal, sent, alerts[0], top=0).json()["detail"]


def links_to_reasons(portal, upload_id):
    page = portal.client.get(f"/uploads/{upload_id}", headers=HTML).text
    return page, [int(row) for row in re.findall(r'href="/uploads/[\w-]+/rows/(\d+)"', page)]


def test_every_row_of_the_table_leads_to_its_reasons_and_only_alerts_where_nothing_else_is_kept(portal, sent, alerts):
    page, links = links_to_reasons(portal, sent["id"])
    assert links == list(range(50)) and ">Why not</a>" in page
    folder = find_upload(portal.settings, sent["id"]).folder
    lean = shutil.copytree(folder, folder.with_name(f"{folder.name}-lean"))
    (lean / "flows.parquet").unlink()
    page, links = links_to_reasons(portal, lean.name)
    assert links == [row for row in alerts if row < 50] and "portal.keep_flows_mb" in page
    benign = next(row for row in range(400) if row not in alerts)
    answer = portal.client.get(f"/api/v1/uploads/{lean.name}/rows/{benign}/why")
    assert answer.status_code == 404 and "are not kept any more (portal.keep_flows_mb)" in answer.json()["detail"]
    shutil.rmtree(lean)


def test_a_benign_row_says_why_it_is_no_alert(portal, sent, alerts, flows, hybrid_bundle):
    benign = next(row for row in range(400) if row not in alerts)
    why = Why.model_validate_json(reasons_of(portal, sent, benign, top=41).content)
    told = [reason.text for each in why.evidence for reason in each.reasons]
    assert sorted(told) == sorted(each.text for each in explain(hybrid_bundle, flows.slice(benign, 1), top=82)[0])
    assert why.verdict == "benign" and why.short.startswith("Not flagged, mostly because ")
    page = portal.client.get(f"/uploads/{sent['id']}/rows/{benign}", headers=HTML).text
    assert why.short in page and "How like known attacks" in page and "Next alert" not in page


def test_the_page_tells_both_kinds_of_evidence_apart_with_value_and_what_is_usual(portal, sent, alerts):
    page = portal.client.get(f"/uploads/{sent['id']}/rows/{alerts[3]}", headers=HTML).text
    why = Why.model_validate_json(reasons_of(portal, sent, alerts[3]).content)
    sections = re.findall(r'<section class="card evidence (\w+)".*?</section>', page, re.DOTALL)
    assert sections == ["supervised", "novelty"]
    for each in why.evidence:
        strongest = each.reasons[0]
        assert f"<code>{strongest.feature}</code> <strong>{strongest.shown}</strong>" in page
        assert strongest.usual in page and strongest.meaning in page
    assert why.short.startswith("Flagged mostly because ") and why.short in page
    assert "Speaks for an attack" in page and "Speaks against" in page
    assert page.count('<th scope="row">') == 41


def test_from_alert_to_alert_leads_a_link(portal, sent, alerts):
    first, second, last = (
        portal.client.get(f"/uploads/{sent['id']}/rows/{row}", headers=HTML).text
        for row in (alerts[0], alerts[1], alerts[-1])
    )
    assert 'rel="prev"' not in first and f'rel="next" href="/uploads/{sent["id"]}/rows/{alerts[1]}"' in first
    assert f'rel="prev" href="/uploads/{sent["id"]}/rows/{alerts[0]}"' in second
    assert 'rel="next"' not in last


def test_what_is_not_there_is_said_in_a_sentence(portal, sent):
    for address, message in (
        (f"{sent['id']}/rows/999999", "row 999999 of night.csv has no score: rows count from 0"),
        ("nothing/rows/1", "no upload 'nothing'"),
    ):
        for prefix, suffix in (("/uploads/", ""), ("/api/v1/uploads/", "/why")):
            answer = portal.client.get(prefix + address + suffix, headers=JSON)
            assert answer.status_code == 404 and message in answer.json()["detail"]


def test_an_upload_of_an_earlier_version_says_that_it_cannot_explain(portal, sent, alerts):
    folder = find_upload(portal.settings, sent["id"]).folder
    older = shutil.copytree(folder, folder.with_name(f"{folder.name}-older"))
    (older / "features.parquet").unlink()
    answer = portal.client.get(f"/uploads/{older.name}/rows/{alerts[0]}", headers=JSON)
    assert answer.status_code == 404 and "kept no features of alerts; send it again" in answer.json()["detail"]


def test_the_bundle_that_scored_a_file_explains_it_when_another_is_in_charge(portal, sent, alerts, bundle):
    before = reasons_of(portal, sent, alerts[0]).json()
    settings = portal.settings
    make_champion(settings, bundle)
    with listening(settings) as later:
        assert later.client.get("/ready").json()["bundles"]["nsl_kdd"] == bundle.bundle_id
        assert reasons_of(later, sent, alerts[0]).json() == before
    kept = settings.bundles_dir / sent["bundle_id"]
    away = kept.rename(settings.home / "away")
    with listening(settings) as without:
        answer = reasons_of(without, sent, alerts[0])
    away.rename(kept)
    assert answer.status_code == 503 and f"netwarden restore {sent['bundle_id']}" in answer.json()["detail"]


def test_the_flows_of_a_capture_say_whose_they_are(tmp_path):
    schema = load_schema("netwarden_flow", ROOT / "schema")
    settings = portal_settings(tmp_path)
    trained = train_bundle(tmp_path / "trained", schema, made_up_flows(schema, 1500, 1))
    everything = trained.manifest.threshold.model_copy(update={"value": 0.0})
    make_champion(settings, derive_bundle(tmp_path / "bundle", trained, "alerts at all", threshold=everything))
    packets = [
        packet
        for port in (5000, 5001)
        for packet in (
            Packet(1_600_000_000_000_000 + port, source_port=port, flags=SYN),
            Packet(1_600_000_000_000_900 + port, source_port=port, flags=FIN | ACK).reversed(),
        )
    ]
    with listening(settings) as portal:
        name = {"file": ("calls.pcap", capture(sorted(packets, key=lambda packet: packet.time_us)))}
        sent = portal.client.post("/predict", files=name, headers=JSON).json()
        page = re.sub("<[^>]*>", "", portal.client.get(f"/uploads/{sent['id']}/rows/1", headers=HTML).text)
    assert "10.0.0.1 port 5001" in page and "→ 10.0.0.2 port 80, 2020-09-13 12:26" in page
