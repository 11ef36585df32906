"""Scored files: their rows by filter and order, their truth, and what another bundle makes of them."""

import io
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from netwarden.errors import InputError
from netwarden.portal.uploads.progress import Scoring, UnderWay
from netwarden.portal.uploads.rescoring import Difference
from netwarden.portal.uploads.rows import RowPage, RowQuery, find_rows
from netwarden.portal.uploads.scored import UploadList
from netwarden.portal.uploads.scoring import incoming, score_upload
from netwarden.portal.uploads.truth import TruthReport
from netwarden.portal.uploads.uploads import FLOWS, ROWS, Upload
from netwarden.scoring.model import load
from tests.portal.conftest import NAMES, labelled_csv, listening, make_champion, portal_settings

HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def house(bundle, second, tmp_path_factory):
    """A portal with two bundles, the first in charge."""
    settings = portal_settings(tmp_path_factory.mktemp("uploads"), page_rows=50)
    make_champion(settings, second)
    make_champion(settings, bundle)
    with listening(settings) as running:
        yield running


@pytest.fixture(scope="module")
def labelled(house, flows) -> str:
    """Id of a file of 600 rows with labels, one of which nobody knows."""
    table = flows.arrow.slice(0, 600)
    labels = [NAMES[family] for family in table.column("family").to_pylist()]
    labels[5] = "no such attack"
    return sent(house, "night.csv", labelled_csv(table, labels))


def sent(portal, name: str, content: bytes, **options) -> str:
    answer = portal.client.post("/predict", files={"file": (name, content)}, **options)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["content-location"].rpartition("/")[2])


def rows_of(portal, upload_id: str, **asked) -> RowPage:
    answer = portal.client.get(f"/api/v1/uploads/{upload_id}/rows", params=asked)
    assert answer.status_code == 200, answer.text
    return RowPage.model_validate(answer.json())


def test_labels_of_a_file_stand_beside_its_verdicts_and_refuse_no_row(house, labelled):
    report = TruthReport.model_validate(house.client.get(f"/api/v1/uploads/{labelled}/truth").json())
    rows = rows_of(house, labelled, limit=1000).rows
    attacks = [row for row in rows if row["label"] not in (None, "benign")]
    assert (report.rows, report.unknown, report.attacks) == (599, 1, len(attacks))
    assert report.found == sum(row["verdict"] != "benign" for row in attacks)
    by_name = {name.label: name for name in report.names}
    assert by_name["neptune"].family == "dos"
    assert by_name["neptune"].rows == sum(row["label"] == "neptune" for row in rows)
    assert sum(cell.rows for cell in report.confusion) == 599
    assert [name.recall for name in report.names] == sorted(name.recall for name in report.names)


def test_a_page_says_what_the_model_misses_with_a_filter(house, labelled):
    missed = rows_of(house, labelled, show="missed")
    assert {row["verdict"] for row in missed.rows} == {"benign"}
    assert all(row["label"] not in (None, "benign") for row in missed.rows)
    page = house.client.get(f"/uploads/{labelled}/truth", headers=HTML)
    assert page.status_code == 200 and "What it finds, and what it misses" in page.text
    name = missed.rows[0]["label"]
    one = house.client.get(f"/uploads/{labelled}/truth", params={"show": "missed", "label": name}, headers=HTML)
    assert f"{rows_of(house, labelled, show='missed', label=name).total} rows" in one.text
    shown = house.client.get(f"/uploads/{labelled}", headers=HTML).text
    assert f"/uploads/{labelled}/truth" in shown and "Missed" in shown


def test_a_file_without_labels_says_so(house, flows):
    content = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 30), content)
    upload_id = sent(house, "plain.csv", content.getvalue())
    refused = house.client.get(f"/api/v1/uploads/{upload_id}/truth")
    assert (refused.status_code, "says no labels" in refused.json()["detail"]) == (404, True)


@pytest.mark.parametrize("sort", ["score", "family", "label", "row"])
def test_rows_come_in_the_order_asked_for_and_lead_on(house, labelled, sort):
    first = rows_of(house, labelled, sort=sort, down="yes", limit=200)
    rest = rows_of(house, labelled, sort=sort, down="yes", limit=1000, cursor=first.cursor)
    values = ["" if row[sort] is None else row[sort] for row in first.rows + rest.rows]
    assert len(values) == 600 and rest.cursor is None
    assert values == sorted(values, reverse=True)


def test_filters_narrow_together_and_search_looks_into_texts_and_numbers(house, labelled):
    rows = rows_of(house, labelled, limit=1000).rows
    wanted = [row["row"] for row in rows if row["verdict"] == "known_attack" and row["score"] <= 0.99]
    assert [
        r["row"] for r in rows_of(house, labelled, verdict="known_attack", score_to=0.99, limit=1000).rows
    ] == wanted
    assert {row["label"] for row in rows_of(house, labelled, q="NEPT").rows} == {"neptune"}
    assert [row["row"] for row in rows_of(house, labelled, q="17").rows] == [17]
    assert [row["row"] for row in rows_of(house, labelled, q="row:17").rows] == [17]
    found = rows_of(house, labelled, q="1", limit=1000).rows
    assert found[0]["row"] == 1
    found = rows_of(house, labelled, q="dos", limit=1000).rows  # the family, and labels that hold it
    exact = ["dos" in (row["family"], row["label"]) for row in found]
    assert exact == sorted(exact, reverse=True)
    page = house.client.get(f"/uploads/{labelled}?q=nept&sort=score&down=yes", headers=HTML).text
    assert 'aria-sort="descending"' in page
    nothing = house.client.get(f"/uploads/{labelled}?q=zzz", headers=HTML).text
    assert "No row meets this filter" in nothing
    assert house.client.get(f"/uploads/{labelled}?sort=nothing").status_code == 422


def test_what_was_typed_exactly_comes_before_what_only_holds_it(tmp_path):
    rows = range(40)
    table = pa.table(
        {
            "row": rows,
            "verdict": ["benign"] * 40,
            "score": [number / 40 for number in rows],
            "family": pa.nulls(40, pa.string()),
            "src_ip": [f"10.0.0.{40 - number}" for number in rows],
            "dst_port": [17 if number == 30 else 80 for number in rows],
            "protocol": [17 if number % 5 == 0 else 6 for number in rows],
        }
    )
    pq.write_table(table, tmp_path / ROWS)

    def found(q: str, **order) -> list[int]:
        return [int(position) for position in find_rows(Upload(tmp_path), RowQuery(q=q, **order))]

    assert found("17") == [17, 0, 5, 10, 15, 20, 25, 30, 35, 23]  # row, then port or protocol, then a part of 10.0.0.17
    assert found("17", sort="score", down=True) == [17, 35, 30, 25, 23, 20, 15, 10, 5, 0]
    assert found("10.0.0.1")[0] == 39 and len(found("10.0.0.1")) == 11
    assert found("row:17") == [17] and found("9" * 30) == []


def test_another_bundle_scores_the_file_again_and_the_difference_is_told(house, labelled, flows, second):
    asked = f"/api/v1/uploads/{labelled}/rescore"
    told = Difference.model_validate(house.client.post(asked, json={"bundle_id": second.bundle_id}).json())
    direct = load(second.bundle_id, house.settings).score(flows.arrow.slice(0, 600).drop_columns(["label", "family"]))
    before = rows_of(house, labelled, limit=1000).rows
    after = direct.column("verdict").to_pylist()
    assert sum(each.rows for each in told.moved) == told.rows == 600
    for each in told.moved:
        pairs = zip(before, after, strict=True)
        assert each.rows == sum(row["verdict"] == each.before and verdict == each.after for row, verdict in pairs)
    changed = house.client.get(f"/api/v1/uploads/{labelled}/rescored/{second.bundle_id}/rows?limit=1000").json()
    assert changed["total"] == told.changed == len(changed["rows"])
    assert told == Difference.model_validate(
        house.client.get(f"/api/v1/uploads/{labelled}/rescored/{second.bundle_id}").json()
    )
    scores = direct.column("score").to_pylist()
    assert all(row["other_score"] == scores[row["row"]] for row in changed["rows"])
    posted = house.client.post(f"/uploads/{labelled}/rescore", data={"bundle_id": second.bundle_id})
    page = house.client.get(posted.headers["location"], headers=HTML)
    assert f"{told.changed} of 600 rows change" in page.text


def test_a_bundle_that_was_not_asked_or_cannot_be_is_refused_in_a_sentence(house, labelled, bundle):
    unasked = house.client.get(f"/api/v1/uploads/{labelled}/rescored/{bundle.bundle_id}/rows")
    assert (unasked.status_code, "has not scored night.csv" in unasked.json()["detail"]) == (404, True)
    unknown = house.client.post(f"/api/v1/uploads/{labelled}/rescore", json={"bundle_id": "nothing"})
    assert unknown.status_code == 404


def test_the_history_names_the_bundle_of_each_file_and_leads_on(house, labelled, bundle):
    found = UploadList.model_validate(house.client.get("/api/v1/uploads?limit=1").json())
    assert found.uploads[0].bundle_id == bundle.bundle_id
    ids = [each.id for each in found.uploads]
    while found.cursor:
        found = UploadList.model_validate(
            house.client.get("/api/v1/uploads", params={"limit": 1, "cursor": found.cursor}).json()
        )
        ids += [each.id for each in found.uploads]
    assert labelled in ids and ids == sorted(ids, reverse=True)
    page = house.client.get("/uploads", headers=HTML).text
    assert f"/models/{bundle.bundle_id}" in page and f"/uploads/{labelled}/truth" in page
    assert house.client.get(f"/api/v1/uploads/{labelled}").json()["labelled"] == 599


def test_flows_go_first_where_they_fill_the_disk_and_then_no_other_bundle_scores_them(bundle, second, flows, tmp_path):
    settings = portal_settings(tmp_path, keep_flows_mb=0)
    make_champion(settings, second)
    make_champion(settings, bundle)
    content = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 50), content)
    with listening(settings) as portal:
        upload_id = sent(portal, "a.csv", content.getvalue())
        assert not (settings.home / "uploads" / upload_id / FLOWS).exists()
        refused = portal.client.post(f"/api/v1/uploads/{upload_id}/rescore", json={"bundle_id": second.bundle_id})
        assert "are no longer kept; send the file again" in refused.json()["detail"]
        assert "Score it again" not in portal.client.get(f"/uploads/{upload_id}", headers=HTML).text


def test_a_file_that_is_cancelled_leaves_nothing(bundle, flows, tmp_path):
    settings = portal_settings(tmp_path)
    make_champion(settings, bundle)
    scoring = Scoring(cancelled=True)
    with incoming(settings) as path:
        pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 50), path)
        with pytest.raises(InputError, match="cancelled; nothing of this file was kept"):
            score_upload(settings, load(bundle.bundle_id, settings), path, "a.csv", scoring)
    assert list((settings.home / "uploads").iterdir()) == []


def test_a_file_under_way_is_followed_and_cancelled_by_its_ticket(house, flows):
    whole = flows.arrow.drop_columns(["label", "family"])
    content = io.BytesIO()
    pacsv.write_csv(pa.concat_tables([whole] * 60), content)
    ticket, answers = "ticket-0001", []

    def send() -> None:
        files = {"file": ("long.csv", content.getvalue())}
        answers.append(
            house.client.post(f"/predict?ticket={ticket}", files=files, headers={"Accept": "application/json"})
        )

    sending = threading.Thread(target=send)
    sending.start()
    address = f"/api/v1/uploads/progress?ticket={ticket}"
    deadline = time.monotonic() + 20
    while (seen := house.client.get(address)).status_code != 200:
        assert time.monotonic() < deadline and sending.is_alive(), "it was done before it was seen"
        time.sleep(0.01)
    assert seen.json()["state"] == "scoring"
    cancelled = house.client.post(f"/api/v1/uploads/progress/cancel?ticket={ticket}")
    sending.join(30)
    assert (cancelled.status_code, answers[0].status_code) == (200, 422)
    assert answers[0].json()["detail"] == "cancelled; nothing of this file was kept"
    assert house.client.get(address).status_code == 404
    assert house.client.post("/predict?ticket=x", files={"file": ("a.npy", b"x")}).status_code == 422


def test_a_ticket_is_forgotten_when_its_file_is_done():
    under_way = UnderWay()
    with under_way.follow("ticket-0002") as scoring:
        scoring.proceed(0.5, 10)
        assert under_way.find("ticket-0002").rows == 10
    with pytest.raises(Exception, match="no file is under way"):
        under_way.find("ticket-0002")


def test_a_preview_says_what_a_file_seems_to_be_before_it_is_sent(house, flows, nsl_schema):
    def looked(content: bytes, name: str) -> dict[str, object]:
        answer = house.client.post("/api/v1/uploads/preview", params={"name": name}, content=content)
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    table = io.BytesIO()
    pacsv.write_csv(flows.arrow.drop_columns(["label", "family"]).slice(0, 300), table)
    whole = looked(table.getvalue()[:40_000], "a.csv")
    assert whole["fits"] is True and str(whole["columns"]).startswith("['duration'")
    assert "all 41 features" in str(whole["says"])
    short = looked(b"duration,src_bytes\n1,2\n3,4\n", "a.csv")
    assert short["fits"] is False and "39 of 41 features" in str(short["says"])
    array = io.BytesIO()
    np.save(array, np.zeros((7, 41)))
    assert looked(array.getvalue()[:200], "a.npy") == {
        "says": "An array of 7 × 41; nsl_kdd has 41 features.",
        "fits": True,
        "columns": [],
        "rows": [],
    }
    assert looked(b"PAR1", "a.parquet")["fits"] is None
