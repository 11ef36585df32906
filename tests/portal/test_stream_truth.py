"""Labels that come with a replay stand beside its verdicts, and never lead to them."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from netwarden.flows.table import FlowTable
from netwarden.portal.models.champions import Champions
from netwarden.portal.uploads.truth import TruthReport, matrix
from netwarden.portal.watch.stream_truth import Tallies, stream_truths
from netwarden.scoring.scorer import Scorer
from netwarden.streaming.replay import ReplayPlan
from netwarden.streaming.roles import run_together
from netwarden.streaming.sensor import replay_source
from tests.fixtures.servers import wait_until
from tests.portal.conftest import Portal, listening, portal_settings
from tests.portal.streamed import labelled, scored
from tests.streaming.conftest import Deployment, deploy

FAMILY_OF = {"benign": "benign", "neptune": "dos", "nmap": "probe", "guess_passwd": "r2l"}
HTML = {"Accept": "text/html"}


@dataclass(frozen=True)
class Replayed:
    """A portal beside which a dataset was replayed."""

    portal: Portal
    deployment: Deployment


@pytest.fixture(scope="module")
def replayed(bundle, flows, tmp_path_factory) -> Iterator[Replayed]:
    deployment = deploy(tmp_path_factory.mktemp("replayed") / "home", labelled(flows), bundle)
    settings = deployment.settings
    with listening(settings) as portal:
        portal.client.get("/api/v1/live")
        source = replay_source(settings, ReplayPlan("made_up", rate=0))
        run_together(settings, source, Champions(settings).choose, threading.Event())
        wait_until(lambda: portal.client.get("/api/v1/live").json()["labelled"] == 1500, "all labelled flows")
        yield Replayed(portal, deployment)


def test_what_a_replay_is_said_to_be_equals_what_the_same_rows_give_offline(replayed):
    deployment = replayed.deployment
    (told,) = replayed.portal.client.get("/api/v1/live/truth").json()["truths"]
    assert (told["sensor"], told["origin"], told["bundle_id"]) == ("edge", "replay", deployment.bundle.bundle_id)
    rows = Scorer(deployment.bundle, threads=1).score(deployment.flows).to_pylist()
    labels = deployment.flows.arrow.column("label").to_pylist()
    offline = Counter((label, row["family"] or row["verdict"]) for label, row in zip(labels, rows, strict=True))
    report = TruthReport.model_validate(told["truth"])
    assert report.rows == sum(offline.values()) == 1500
    assert {(cell.family, cell.said): cell.rows for cell in report.confusion} == {
        (FAMILY_OF[label], said): rows for (label, said), rows in offline.items()
    }
    for name in report.names:
        assert name.rows == labels.count(name.label)
        assert name.found == name.rows - offline[name.label, "benign"]
        assert name.named == offline[name.label, name.family]
        assert name.novel == offline[name.label, "novel"]
        assert name.recall == pytest.approx(name.found / name.rows)
    assert {name.label: name.family for name in report.names} == {
        label: family for label, family in FAMILY_OF.items() if label != "benign"
    }
    assert report.mistaken == labels.count("benign") - offline["benign", "benign"]


def test_the_live_page_shows_recall_of_each_attack_confusion_and_the_truth_of_each_flow(replayed):
    page = replayed.portal.client.get("/live", headers=HTML).text
    (told,) = replayed.portal.client.get("/api/v1/live/truth").json()["truths"]
    assert "Truth of the replay" in page
    assert "Recall of each attack" in page
    assert page.index("guess_passwd") > 0
    for _, counts, _ in matrix(TruthReport.model_validate(told["truth"])).lines:
        for count in counts:
            assert not count or f">{count}</td>" in page
    assert '<td class="truth">neptune</td>' in page


def test_an_alert_of_a_replay_shows_its_truth_beside_its_verdict(replayed):
    client = replayed.portal.client
    for alert in client.get("/api/v1/alerts?limit=3").json()["alerts"]:
        assert alert["truth"] in FAMILY_OF
        page = client.get(f"/alerts/{alert['alert_id']}", headers=HTML).text
        assert f"in truth <strong>{alert['truth']}</strong>" in page


# --- what is counted ----------------------------------------------------------------------------------------------


def test_flows_without_labels_are_not_tallied(bundle, flows):
    tallies = Tallies()
    tallies.add(scored(bundle, flows.slice(0, 50)))
    assert tallies.copy() == ()


def test_a_flow_that_is_still_open_waits_for_its_last_record(bundle, flows):
    batch = scored(bundle, labelled(flows.slice(0, 50)), source="replay")
    ended = pa.array(["interim"] * 20 + ["closed"] * 30)
    tallies = Tallies()
    tallies.add(replace(batch, flows=batch.flows.append_column("ended_by", ended)))
    assert tallies.copy()[0].labelled == 30


def test_each_bundle_has_figures_of_its_own_and_few_are_kept(bundle, flows, tmp_path):
    batch = scored(bundle, labelled(flows.slice(0, 50)), source="replay")
    tallies = Tallies()
    for number in range(10):
        tallies.add(replace(batch, bundle_id=f"b{number}"))
    tallies.add(replace(batch, bundle_id="b5"))
    told = stream_truths(tallies.copy(), portal_settings(tmp_path))
    assert [each.bundle_id for each in told] == ["b5", "b9", "b8", "b7", "b6", "b4", "b3", "b2"]
    assert [each.truth.rows for each in told] == [100, *[50] * 7]


def test_labels_of_endless_kinds_are_bounded_and_what_is_left_out_is_told(bundle, flows, tmp_path):
    batch = scored(bundle, flows.slice(0, 2500))
    names = pa.array([f"attack {number}" for number in range(2500)])
    tallies = Tallies()
    tallies.add(replace(batch, source="replay", flows=batch.flows.append_column("label", names)))
    (told,) = stream_truths(tallies.copy(), portal_settings(tmp_path))
    assert (told.truth.rows, told.left_out) == (2000, 500)
    assert {name.family for name in told.truth.names} == {"other"}


def test_a_schema_that_this_machine_has_not_got_still_has_its_truth(bundle, flows, tmp_path):
    batch = scored(bundle, labelled(flows.slice(0, 50)), datetime.now(UTC), source="replay")
    tallies = Tallies()
    tallies.add(replace(batch, schema_id="elsewhere"))
    (told,) = stream_truths(tallies.copy(), portal_settings(tmp_path))
    assert {name.family for name in told.truth.names} <= {"dos", "probe", "r2l"}


def test_a_label_of_a_flow_without_one_is_counted_as_not_known(bundle, flows, tmp_path):
    table = labelled(flows.slice(0, 4))
    some = table.arrow.set_column(table.names.index("label"), "label", pa.array([None, "neptune", None, "benign"]))
    tallies = Tallies()
    tallies.add(scored(bundle, FlowTable(some, table.schema_id), source="replay"))
    (told,) = stream_truths(tallies.copy(), portal_settings(tmp_path))
    assert (told.truth.rows, told.truth.unknown, told.truth.attacks, told.truth.benign) == (2, 2, 1, 1)
