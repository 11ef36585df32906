"""JSON scoring: one flow, many, and what is stored of them."""

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest

from netwarden.flows.table import FlowTable
from netwarden.portal.flows.routes import ARROW, FLOW_EXAMPLE, NPY, BatchVerdicts, FlowVerdict
from netwarden.scoring.scorer import Scorer
from netwarden.sources.connect import open_alert_store
from tests.fixtures.bundles import made_up_flows
from tests.portal.conftest import listening, make_champion, portal_settings


@pytest.fixture(scope="module")
def scored(bundle, tmp_path_factory):
    """A portal of this module's own: it stores alerts."""
    settings = portal_settings(tmp_path_factory.mktemp("scored"))
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


@pytest.fixture(scope="module")
def sent_flows(nsl_schema):
    return made_up_flows(nsl_schema, 200, seed=4).arrow.drop_columns(["label", "family"])


@pytest.fixture(scope="module")
def expected(bundle, sent_flows):
    return Scorer(bundle, threads=1).score(FlowTable(sent_flows, "nsl_kdd")).to_pylist()


def alerts_in(portal):
    with closing(open_alert_store(portal.settings)) as store:
        return store.count()


def arrow_body(table):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_many_clients_at_once_each_get_what_the_scorer_says_of_their_flow(scored, sent_flows, expected):
    def ask(row):
        answer = scored.client.post("/score?record=false", content=json.dumps(row))
        return FlowVerdict.model_validate_json(answer.content)

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(ask, sent_flows.to_pylist()))
    assert [one.score for one in answers] == [row["score"] for row in expected]
    assert [one.verdict for one in answers] == [row["verdict"] for row in expected]
    assert [one.family for one in answers] == [row["family"] for row in expected]
    assert {one.alert_id for one in answers} == {None}


def test_batches_as_json_arrow_and_npy_say_the_same(scored, sent_flows, expected):
    sent = scored.client.post("/batch_score?record=false", json={"rows": sent_flows.to_pylist()})
    answer = BatchVerdicts.model_validate_json(sent.content)
    assert [one.score for one in answer.verdicts] == [row["score"] for row in expected]
    assert answer.alerts == sum(row["verdict"] != "benign" for row in expected)
    headers = {"Content-Type": ARROW}
    told = scored.client.post("/batch_score?record=false", content=arrow_body(sent_flows), headers=headers)
    assert told.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(told.content).read_all()
    assert table.column_names == ["row", "score", "verdict", "family", "threshold"]
    assert table.drop_columns(["row"]).to_pylist() == expected
    as_json = scored.client.post(
        "/batch_score?record=false", content=arrow_body(sent_flows), headers=headers | {"Accept": "application/json"}
    )
    assert as_json.json()["verdicts"] == sent.json()["verdicts"]
    sample = scored.client.get("/schemas/nsl_kdd/sample.npy").content
    array = scored.client.post("/batch_score", content=sample, headers={"Content-Type": NPY}).json()
    assert array["rows"] == len(np.load(io.BytesIO(sample)))


def test_alerts_of_the_api_are_stored_once_and_can_be_read(scored, sent_flows, expected):
    before = alerts_in(scored)
    place = next(at for at, row in enumerate(expected) if row["verdict"] != "benign")
    row = sent_flows.to_pylist()[place]
    first = scored.client.post("/score", json=row).json()
    again = scored.client.post("/score", json=row).json()
    assert first["alert_id"] == again["alert_id"] is not None
    assert alerts_in(scored) == before + 1
    told = scored.client.get(f"/api/v1/alerts/{first['alert_id']}").json()["alert"]
    assert (told["origin"], told["score"]) == ("api", expected[place]["score"])
    assert told["features"]["src_bytes"] == row["src_bytes"]
    scored.client.post("/predict", json={"rows": [row]})
    scored.client.post("/batch_score", content=arrow_body(sent_flows.slice(place, 1)), headers={"Content-Type": ARROW})
    assert alerts_in(scored) == before + 1


def test_alerts_are_not_stored_where_the_settings_say_so(bundle, tmp_path):
    settings = portal_settings(tmp_path, record_scored=False)
    make_champion(settings, bundle)
    with listening(settings) as running:
        assert running.client.post("/score", json=FLOW_EXAMPLE).json()["alert_id"] is None
        running.client.post("/batch_score", json={"rows": [FLOW_EXAMPLE]})
        assert alerts_in(running) == 0


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{", "the body is not JSON"),
        (b"[" * 20_000, "nested too deeply"),
        (b"[]", "a flow is an object"),
        (b"{}", "a flow is an object"),
        (b'{"duration": 0}', "columns of schema nsl_kdd missing"),
        (json.dumps({**FLOW_EXAMPLE, "duration": "soon"}).encode(), "duration: not a number"),
        (json.dumps({**FLOW_EXAMPLE, "duration": [1]}).encode(), "lists or objects|list"),
    ],
)
def test_what_is_no_flow_is_refused_in_one_sentence(scored, body, fault):
    answer = scored.client.post("/score", content=body)
    assert answer.status_code == 422
    assert re.search(fault, answer.json()["detail"])


@pytest.mark.parametrize(
    ("kind", "body", "fault"),
    [
        ("text/csv", b"a,b", "is not read here"),
        (ARROW, b"nonsense", "no Arrow stream"),
        (NPY, b"nonsense", "no .npy array"),
        (NPY, b"\x93NUMPY\x01\x00\x10\x00{broken", "damaged"),
        ("application/json", b'{"rows": []}', "one flow or more"),
        ("application/json", b'{"rows": [1]}', "a flow is an object"),
    ],
)
def test_what_is_no_batch_is_refused_in_one_sentence(scored, kind, body, fault):
    answer = scored.client.post("/batch_score", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert fault in answer.json()["detail"]


def test_rows_of_a_batch_that_do_not_fit_are_told_apart(scored):
    rows = [FLOW_EXAMPLE, {**FLOW_EXAMPLE, "duration": "soon"}, {"duration": 1}]
    answer = scored.client.post("/batch_score", json={"rows": rows}).json()
    assert [one["row"] for one in answer["verdicts"]] == [0]
    assert [one["row"] for one in answer["rejections"]] == [1, 2]
    assert "soon" not in answer["rejections"][0]["reason"]


def test_without_a_detector_scoring_says_so(empty_portal):
    answer = empty_portal.client.post("/score", json=FLOW_EXAMPLE)
    assert (answer.status_code, answer.json()["detail"][:19]) == (503, "no detector serves:")
