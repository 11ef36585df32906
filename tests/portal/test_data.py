"""Datasets, quarantine and schemas, as the portal shows them."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from netwarden.sources.connect import open_flow_store
from netwarden.sources.store import RejectedRow
from tests.fixtures.servers import wait_until
from tests.portal.conftest import Portal, listening, make_small_workspace


@pytest.fixture(scope="module")
def library(tmp_path_factory, nsl_schema) -> Iterator[Portal]:
    """A portal over a store with one dataset and 120 rows in its quarantine."""
    settings = make_small_workspace(tmp_path_factory.mktemp("library"), nsl_schema)
    with closing(open_flow_store(settings)) as store:
        store.quarantine(
            "nsl_kdd", [RejectedRow("x.csv", n, f"duration: 'v{n}' is no number", "<b>") for n in range(120)]
        )
    report = {"name": "ranges", "found": 2, "allowed": 0, "what": "values out of range", "rows": ["x.csv:3"]}
    (settings.pipeline_dir / "validate").mkdir(parents=True)
    checks = {"rows": 9, "schema": "nsl_kdd", "checks": [{**report, "passed": False, "warns": False}]}
    (settings.pipeline_dir / "validate" / "report.json").write_text(json.dumps(checks))
    with listening(settings) as running:
        yield running


def test_labels_are_counted_by_split_in_the_background_and_add_up(library):
    def told() -> dict:  # type: ignore[type-arg] # JSON
        found: dict = library.client.get("/api/v1/datasets/nsl_kdd").json()  # type: ignore[type-arg] # JSON
        return found

    wait_until(lambda: told()["labels"]["state"] == "done", "counts")
    dataset, counts = told()["dataset"], told()["labels"]["counts"]
    assert {label: sum(by_split.values()) for label, by_split in counts.items()} == dataset["labels"]
    assert told()["reasons"] == {"duration: … is no number": 120}
    for split, rows in dataset["splits"].items():
        assert sum(by_split.get(split, 0) for by_split in counts.values()) == rows
    page = library.client.get("/data/sets/nsl_kdd", headers={"Accept": "text/html"}).text
    assert "Denial of service" in page
    assert "duration: … is no number" in page
    assert "&lt;b&gt;" in page


def test_the_quarantine_is_paged_without_gap_or_repeat(library):
    lines: list[int] = []
    asked = {"limit": "50"}
    while asked:
        page = library.client.get("/api/v1/datasets/nsl_kdd/quarantine", params=asked).json()
        lines += [row["line"] for row in page["rows"]]
        asked = {"limit": "50", "cursor": page["cursor"]} if page["cursor"] else {}
    assert lines == list(range(120))


def test_a_cursor_that_is_none_and_a_dataset_that_is_not_there_are_refused_in_words(library):
    answer = library.client.get("/api/v1/datasets/nsl_kdd/quarantine?cursor=nonsense")
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "cursor 'nonsense' is not one of a quarantine; take it from the answer before",
    )
    answer = library.client.get("/api/v1/datasets/nothing")
    assert answer.status_code == 404
    assert "nothing" in answer.json()["detail"]


def test_pages_show_the_pipelines_checks_and_every_schema(library):
    page = library.client.get("/data", headers={"Accept": "text/html"}).text
    assert "values out of range" in page
    assert "x.csv:3" in page
    schemas = library.client.get("/api/v1/schemas").json()
    for schema in schemas:
        assert f"/data/schemas/{schema['id']}" in page
    families = library.client.get("/api/v1/families").json()
    assert families["attacks"]["nmap"]["family"] == "probe" and families["families"]["probe"]["title"]
    page = library.client.get("/data/schemas/netwarden_flow", headers={"Accept": "text/html"}).text
    assert "flow_duration_us" in page
    assert "T1046" in page
    assert library.client.get("/data/schemas/none").status_code == 404


def test_an_empty_store_teaches_how_to_fill_it(empty_portal):
    page = empty_portal.client.get("/data", headers={"Accept": "text/html"}).text
    assert "python ETL.py --dataset lab" in page
    assert empty_portal.client.get("/api/v1/datasets").json() == {"datasets": [], "quality": None, "cursor": None}
