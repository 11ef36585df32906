"""Drift of the stream and of files, as the portal measures it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from netwarden.flows.table import FlowTable
from netwarden.portal.charts import pair_chart
from netwarden.sources.connect import open_feed
from netwarden.streaming.batch import StreamBatch
from netwarden.streaming.judge import Judged
from netwarden.streaming.sampled import ENTRIES, SAMPLES, Sampler, sampled
from tests.fixtures.bundles import made_up_flows
from tests.fixtures.servers import wait_until
from tests.portal.conftest import Portal, listening, make_champion, portal_settings
from tests.portal.streamed import sample


@pytest.fixture(scope="module")
def yardstick(bundle, tmp_path_factory) -> Iterator[Portal]:
    """A portal with a bundle to measure drift against."""
    settings = portal_settings(tmp_path_factory.mktemp("yardstick"))
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


def measured(portal: Portal, address: str) -> dict:  # type: ignore[type-arg] # JSON
    told: dict = {}  # type: ignore[type-arg] # JSON

    def ready() -> bool:
        told.update(portal.client.get(address).raise_for_status().json())
        return bool(told["state"] != "measuring")

    wait_until(ready, "a report")
    return told


def moved(table: FlowTable) -> FlowTable:
    """The same flows, each with seven times the bytes."""
    at = table.arrow.schema.get_field_index("src_bytes")
    more = pa.array(np.asarray(table.arrow.column("src_bytes")) * 7 + 500)
    return replace(table, arrow=table.arrow.set_column(at, "src_bytes", more))


def test_without_flows_the_report_says_how_to_get_some(yardstick):
    told = measured(yardstick, "/api/v1/drift?against=all")
    assert told["state"] == "nothing"
    assert "netwarden up --interface eth0" in told["detail"]
    page = yardstick.client.get("/drift?against=all", headers={"Accept": "text/html"}).text
    assert "Nothing to compare yet" in page


def test_the_feature_that_moved_comes_first_with_both_distributions(yardstick, nsl_schema):
    sample(yardstick.settings, moved(made_up_flows(nsl_schema, 2400, seed=8)))
    told = measured(yardstick, "/api/v1/drift")
    assert told["flows"] == 2400
    first = told["features"][0]
    assert (first["name"], first["verdict"]) == ("src_bytes", "drifted")
    for side in ("then", "now"):
        assert sum(each[side] for each in first["bins"]) == pytest.approx(1)
    assert told["moved"] < len(told["features"]) / 2
    assert 0 < told["alert_share"] < 1
    page = yardstick.client.get("/drift", headers={"Accept": "text/html"}).text
    assert page.count('<figure class="pairs">') == 13  # the score and twelve features
    assert len(page.encode()) < 200_000


def test_a_scored_file_is_compared_with_the_bundle_that_scored_it(yardstick, nsl_schema):
    flows = made_up_flows(nsl_schema, 600, seed=9).arrow.drop_columns(["label", "family"])
    content = io.BytesIO()
    pacsv.write_csv(flows, content)
    sent = yardstick.client.post("/predict", files={"file": ("night.csv", content.getvalue())}).raise_for_status()
    upload_id = sent.headers["content-location"].rsplit("/", 1)[1]
    told = measured(yardstick, f"/api/v1/drift?source={upload_id}&against=all")
    assert (told["state"], told["flows"]) == ("ready", 600)
    assert told["features"][0]["verdict"] != "drifted"


def test_a_file_that_is_not_there_is_refused_in_words(yardstick):
    answer = yardstick.client.get("/api/v1/drift?source=nothing")
    assert answer.status_code == 404
    assert "no upload 'nothing'" in answer.json()["detail"]


def test_a_sampler_passes_some_flows_of_a_round_on_and_not_more_than_once_a_second(tmp_path, flows):
    feed = open_feed(portal_settings(tmp_path), SAMPLES, ENTRIES)
    clock = iter([0.0, 0.5, 1.5])
    sampler = Sampler(feed, lambda: next(clock))
    named = flows.arrow.append_column("flow_id", pa.array([str(row) for row in range(len(flows))]))
    batch = StreamBatch(FlowTable(named, flows.schema_id).slice(0, 1000), "live", "edge", datetime.now(UTC))
    for _ in range(3):
        sampler.watch(Judged(batch, "b", None, [], []))
    found = sampled([body for _, body in feed.after("", ENTRIES, 0)])
    assert [len(each) for each in found] == [40, 40]
    assert found[0].flows.arrow.column("src_bytes")[-1] == flows.arrow.column("src_bytes")[999]


def test_what_is_no_sample_is_left_out():
    assert sampled([b"nonsense"]) == []


def test_bars_are_as_high_as_their_shares_and_empty_ranges_take_no_room():
    chart = pair_chart([("low", 0.5, 0.25), ("never", 0, 0), ("high", 0.5, 0.75)])
    assert [each.name for each in chart.bins] == ["low", "high"]
    assert chart.top == 0.75
    assert chart.now.startswith("M260.0 100V66.7h190.0V100Z")
