"""POST /predict over TCP: every way in, and every bad way's sentence."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from netwarden.flows.schema import load_schema
from netwarden.portal.uploads.scoring import KINDS, result_schema
from netwarden.portal.uploads.uploads import Upload
from netwarden.scoring.codes import sample_npy
from netwarden.scoring.model import Model, champion
from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, make_champion, portal_settings

HTML = {"Accept": "text/html"}
JSON = {"Accept": "application/json"}


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def model(portal) -> Model:
    found = champion(portal.settings)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def array(model) -> Any:
    return sample_npy(model.schema, model.vocabulary, rows=120)


def send(portal, content: bytes, name: str = "flows.npy", headers=JSON, **data):
    return portal.client.post("/predict", files={"file": (name, content)}, data=data, headers=headers)


def features(flows) -> Any:
    return flows.arrow.drop_columns(["label", "family"]).slice(0, 200)


# --- ways in --------------------------------------------------------------------------------------------------


def test_an_npy_upload_gives_a_page_with_the_contract_column(portal, array):
    answer = send(portal, npy(array), headers={"Accept": "*/*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert ">Output</abbr>" in answer.text
    assert answer.text.count('class="badge ') == 50  # one page of 120 rows
    assert "page 1 of 3" in answer.text


def test_json_clients_get_all_rows_in_order_with_the_verdicts_of_the_python_api(portal, array, model, flows):
    csv = io.BytesIO()
    pacsv.write_csv(features(flows), csv)
    answer = send(portal, csv.getvalue(), "flows.csv").json()
    direct = model.score(features(flows))
    assert [row["row"] for row in answer["predictions"]] == list(range(200))
    assert [row["score"] for row in answer["predictions"]] == direct.column("score").to_pylist()
    assert [row["verdict"] for row in answer["predictions"]] == direct.column("verdict").to_pylist()
    assert {row["prediction"] for row in answer["predictions"]} == {0, -1}
    assert all((row["prediction"] == -1) == (row["score"] >= answer["threshold"]) for row in answer["predictions"])


def test_csv_gz_and_parquet_score_as_csv_does(portal, flows):
    csv, parquet = io.BytesIO(), io.BytesIO()
    pacsv.write_csv(features(flows), csv)
    pq.write_table(features(flows), parquet)
    kinds = {"a.csv": csv.getvalue(), "a.csv.gz": gzip.compress(csv.getvalue()), "a.parquet": parquet.getvalue()}
    answers = {name: send(portal, content, name).json() for name, content in kinds.items()}
    assert answers["a.csv"]["predictions"] == answers["a.csv.gz"]["predictions"] == answers["a.parquet"]["predictions"]


def test_rows_of_json_are_scored_by_name_or_in_schema_order(portal, flows):
    rows = features(flows).slice(0, 5).to_pylist()
    names = features(flows).column_names
    by_name = portal.client.post("/predict", json={"rows": rows})
    in_order = portal.client.post("/predict", json={"schema": "nsl_kdd", "rows": [[r[n] for n in names] for r in rows]})
    assert by_name.status_code == in_order.status_code == 200
    assert by_name.json()["predictions"] == in_order.json()["predictions"]
    assert len(by_name.json()["predictions"]) == 5


def test_float32_fortran_order_big_endian_and_one_flat_row_score_as_the_plain_array_does(portal, array):
    whole = np.round(array)  # exact in float32
    plain = send(portal, npy(whole)).json()["predictions"]
    for other in (whole.astype(np.float32), np.asfortranarray(whole), whole.astype(">f8")):
        assert send(portal, npy(other)).json()["predictions"] == plain
    assert send(portal, npy(whole[0])).json()["predictions"] == plain[:1]


def test_named_fields_score_as_the_plain_array_does(portal, array, model):
    names = [column.name for column in model.schema.features]
    texts = {c: {code: text for text, code in codes.items()} for c, codes in model.category_codes().items()}
    types = [(name, "U32" if name in texts else "f8") for name in reversed(names)]
    records = np.zeros(len(array), dtype=types)
    for position, name in enumerate(names):
        values = array[:, position]
        records[name] = [texts[name][int(value)] for value in values] if name in texts else values
    assert send(portal, npy(records)).json()["predictions"] == send(portal, npy(array)).json()["predictions"]


def test_nan_is_a_missing_value_and_still_gets_a_score(portal, array):
    holed = array.copy()
    holed[0, 0] = np.nan
    answer = send(portal, npy(holed)).json()
    assert answer["rows"] + answer["rejected"] == len(array)
    assert answer["predictions"][0]["score"] is not None


def test_a_value_that_training_never_saw_is_mapped_and_counted(portal, array, model):
    column = [c.name for c in model.schema.features].index("service")
    odd = array.copy()
    odd[:7, column] = -1
    assert send(portal, npy(odd)).json()["unknown"] == {"service": 7}


def test_a_row_that_is_no_flow_is_listed_with_its_reason_and_the_others_are_scored(portal, array, model):
    column = [c.name for c in model.schema.features].index("protocol_type")
    bad = array.copy()
    bad[3, column] = 99
    answer = send(portal, npy(bad)).json()
    assert answer["rejections"] == [{"row": 3, "line": None, "reason": "protocol_type: no category has this code"}]
    assert [row["row"] for row in answer["predictions"]][:4] == [0, 1, 2, 4]


def test_the_sample_of_a_schema_can_be_uploaded(portal):
    sample = portal.client.get("/schemas/nsl_kdd/sample.npy")
    codes = portal.client.get("/api/v1/schemas/nsl_kdd/codes").json()
    assert codes["protocol_type"] == {"icmp": 0, "tcp": 1, "udp": 2}
    assert sample.status_code == 200
    answer = send(portal, sample.content).json()
    assert (answer["rows"], answer["rejected"]) == (5, 0)


# --- reading a scored file --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upload(portal, flows) -> str:
    csv = io.BytesIO()
    pacsv.write_csv(features(flows), csv)
    return str(send(portal, csv.getvalue(), "a day.csv", headers=HTML).headers["content-location"])


def test_every_page_has_its_rows_and_alerts_can_be_read_alone(portal, upload):
    everything = portal.client.get(upload, headers=JSON).json()["predictions"]
    alerts = [row["row"] for row in everything if row["prediction"] == -1]
    pages = [portal.client.get(f"{upload}?page={number}", headers=HTML).text for number in (1, 2, 3, 4)]
    assert sum(page.count('class="badge ') for page in pages) == 200
    assert '<td class="number muted">199</td>' in pages[3]
    shown = portal.client.get(f"{upload}?show=alerts", headers=HTML).text
    assert shown.count('class="badge ') == min(50, len(alerts))
    assert "badge benign" not in shown


def test_downloads_hold_every_row(portal, upload):
    csv = portal.client.get(f"{upload}/scores.csv")
    table = pacsv.read_csv(io.BytesIO(csv.content))
    assert table.column_names == ["row", "verdict", "prediction", "score", "family"]
    assert "a_day.csv.scores.csv" in csv.headers["content-disposition"]
    json = portal.client.get(f"{upload}/scores.json").json()
    assert [row["score"] for row in json["predictions"]] == table.column("score").to_pylist()


def test_endpoints_are_shown_where_the_flows_have_them():
    names = result_schema(load_schema("cic_flow", ROOT / "schema")).names
    assert names[5:] == ["started_at", "src_ip", "src_port", "dst_ip", "dst_port", "protocol"]


def test_pages_across_row_groups_are_whole(tmp_path: Path):
    rows = pa.table({"row": pa.array(range(100)), "verdict": ["benign"] * 100})
    pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=7)
    assert [row["row"] for row in Upload(tmp_path).page(12, 30)] == list(range(12, 42))
    assert [row["row"] for row in Upload(tmp_path).page(95, 30)] == list(range(95, 100))


# --- bad uploads: one clear sentence each -----------------------------------------------------------------------


def detail(answer, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    return str(body["detail"])


def test_a_flat_array_of_another_length_is_refused(portal, array):
    assert detail(send(portal, npy(array.ravel()))).startswith(
        f"flows.npy has shape ({array.size},); a table of shape (rows, 41) is expected"
    )


def test_an_object_array_is_refused_unread(portal):
    content = npy(np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    assert "holds Python objects, which are never read" in detail(send(portal, content))


def test_an_array_of_text_is_refused(portal):
    assert "not real numbers" in detail(send(portal, npy(np.array([["tcp"] * 41]))))


def test_an_empty_file_is_refused(portal):
    assert detail(send(portal, b"")) == "flows.npy is empty"


def test_an_array_without_rows_is_refused(portal):
    assert "holds no rows" in detail(send(portal, npy(np.zeros((0, 41)))))


def test_a_truncated_array_is_refused(portal, array):
    assert "is cut short" in detail(send(portal, npy(array)[:-100]))


def test_an_array_of_the_wrong_width_is_refused(portal):
    assert "has 40 columns; schema nsl_kdd has 41 features" in detail(send(portal, npy(np.zeros((3, 40)))))


def test_a_transposed_array_is_told_from_a_wrong_one(portal):
    assert "is it transposed?" in detail(send(portal, npy(np.zeros((41, 500)))))


def test_a_table_of_another_schema_is_refused(portal):
    content = b"Flow Duration,Total Fwd Packets\n1,2\n"
    assert "schema nsl_kdd" in detail(send(portal, content, "cic.csv"))


def test_a_csv_under_the_name_of_an_array_is_refused(portal):
    assert "is not a .npy file" in detail(send(portal, b"duration,src_bytes\n1,2\n"))


def test_a_pickle_is_refused_unread(portal):
    assert "it is a pickle, which is never read" in detail(send(portal, b"\x80\x04K\x01."))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.parquet", b"PAR1 no"),
        ("a.csv.gz", b"\x1f\x8bno"),
        ("a.csv.gz", gzip.compress(b"duration", mtime=0)[:10] + b"\xff" * 20),
        ("a.csv", b"\xff\xfe\x00\x01"),
    ],
)
def test_broken_files_are_refused_by_name(portal, name, content):
    said = detail(send(portal, content, name))
    assert name in said
    assert "Traceback" not in said


def test_a_file_of_another_kind_is_refused(portal):
    said = detail(send(portal, b"MZ", "setup.exe"))
    assert said == f"setup.exe is of no kind that is read here; send {', '.join(KINDS)}"


def test_an_upload_that_is_too_large_is_refused(portal):
    said = detail(send(portal, npy(np.zeros((4000, 41)))), 413)
    assert said.startswith("the upload is larger than the 1 MB allowed here")


def test_an_upload_of_unstated_length_is_bounded_too(portal):
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for _ in range(40):
            yield b"1" * 50_000

    headers = {"Content-Type": "multipart/form-data; boundary=x", **JSON}
    assert "larger than the 1 MB" in detail(portal.client.post("/predict", content=body(), headers=headers), 413)


def test_a_form_without_the_file_is_refused(portal):
    answer = portal.client.post("/predict", data={"schema": "nsl_kdd"}, headers=JSON)
    assert detail(answer).startswith("no file was sent; put a .npy, .csv")


def test_an_unknown_schema_is_refused_by_the_names_of_the_known(portal, array):
    said = detail(send(portal, npy(array), schema="other"))
    assert said == "no detector serves schema 'other'; choose one of: nsl_kdd"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "the body is not JSON"),
        ('{"rows": []}', "rows"),
        ('{"rows": [[1, 2]]}', "row 0 has 2 values; schema nsl_kdd has 41 features"),
        ('{"rows": [{"duration": 1}]}', "schema nsl_kdd"),
        ('{"flows": []}', "column 'flows' holds"),
    ],
)
def test_json_that_holds_no_flows_is_refused(portal, body, said):
    answer = portal.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert said in detail(answer)


def test_a_name_with_folders_stays_a_name(portal, array):
    answer = send(portal, npy(array), "../../etc/passwd.npy")
    assert answer.json()["name"] == "passwd.npy"


def test_browsers_read_the_sentence_on_a_page(portal):
    answer = send(portal, b"", headers=HTML)
    assert answer.status_code == 422
    assert '<p id="detail">flows.npy is empty</p>' in answer.text


def test_a_refused_upload_leaves_nothing_behind(portal):
    before = sorted((portal.settings.home / "uploads").iterdir())
    detail(send(portal, b""))
    assert sorted((portal.settings.home / "uploads").iterdir()) == before


def test_only_the_last_uploads_are_kept(bundle, tmp_path, array):
    settings = portal_settings(tmp_path, keep_uploads=2)
    make_champion(settings, bundle)
    with listening(settings) as small:
        ids = [send(small, npy(array)).json()["id"] for _ in range(3)]
        gone = small.client.get(f"/uploads/{ids[0]}", headers=JSON)
    assert len(list((settings.home / "uploads").iterdir())) == 2
    assert detail(gone, 404).endswith("the last 2 are kept")


def test_json_rows_that_memory_should_not_hold_are_refused(portal, monkeypatch):
    monkeypatch.setattr("netwarden.portal.uploads.predict._MAX_JSON_BYTES", 500_000)
    body = b'{"rows": [' + b" " * 600_000 + b"]}"
    answer = portal.client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert "are sent as a file, not as JSON" in detail(answer)


@pytest.mark.parametrize("name", ["KDDTest+.txt", "KDDTest+.txt.gz"])
def test_nsl_kdd_as_published_is_scored_label_and_all(portal, nsl_kdd, name):
    with gzip.open(nsl_kdd / "KDDTest+.txt.gz") as file:
        content = b"".join(file.readline() for _ in range(500))
    answer = send(portal, gzip.compress(content) if name.endswith("gz") else content, name).json()
    assert (answer["rows"], answer["rejected"], answer["name"]) == (500, 0, name)
