"""One bundle, one scoring function: the same flows get the same scores down every path there is."""

import io
import threading

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from netwarden.flows.table import FlowTable
from netwarden.scoring.batch import score_file
from netwarden.scoring.output import prediction
from netwarden.scoring.scorer import Scorer
from netwarden.sections import StreamSettings
from netwarden.sources.embedded_alerts import EmbeddedAlertStore
from netwarden.sources.memory_queue import MemoryFeed, MemoryQueue
from netwarden.streaming.batch import pack
from netwarden.streaming.scored import read_scored
from netwarden.streaming.worker import Worker
from tests.intake.conftest import bare, empty_settings, model, settings
from tests.portal.conftest import listening
from tests.service.running import as_codes, bentoml_env, served
from tests.streaming.conftest import batch_of, in_charge, with_ids

__all__ = ["bare", "empty_settings", "model", "settings"]


@pytest.fixture
def expected(bundle, bare):
    """What the scorer itself says, with both verdicts among it."""
    result = Scorer(bundle, threads=1).score(FlowTable(bare, "nsl_kdd"))
    assert len(set(result["verdict"].to_pylist())) == 2
    return result.to_pylist()


@pytest.fixture
def files(bare, model, tmp_path):
    """The flows as every kind of file."""
    pacsv.write_csv(bare, tmp_path / "flows.csv")
    pq.write_table(bare, tmp_path / "flows.parquet")
    np.save(tmp_path / "flows.npy", as_codes(model, bare))
    wide = dict.fromkeys(model.category_codes(), "U32")
    np.save(tmp_path / "named.npy", bare.to_pandas().to_records(index=False, column_dtypes=wide))
    return [tmp_path / name for name in ("flows.csv", "flows.parquet", "flows.npy", "named.npy")]


def judged(rows):
    return [{name: row[name] for name in ("score", "verdict", "family", "threshold")} for row in rows]


def test_python_scores_tables_frames_dicts_arrays_and_single_flows_alike(model, bare, expected):
    assert model.score(bare).to_pylist() == expected
    assert model.score(bare.to_pylist()).to_pylist() == expected
    assert model.score(as_codes(model, bare)).to_pylist() == expected
    frame = pa.Table.from_pandas(model.score(bare.to_pandas()), preserve_index=False)
    assert frame.to_pylist() == expected
    singles = [model.score_one(row) for row in bare.to_pylist()]
    assert [one.score for one in singles] == [row["score"] for row in expected]
    assert [one.verdict for one in singles] == [row["verdict"] for row in expected]


def test_batches_of_every_kind_of_file_score_alike(settings, files, expected, tmp_path):
    for file in files:
        score_file(settings, file, tmp_path / "scores.parquet")
        assert judged(pq.read_table(tmp_path / "scores.parquet").to_pylist()) == expected, file.name


def test_the_portal_scores_uploads_and_json_alike(settings, files, bare, expected):
    with listening(settings) as portal:
        for file in files:
            answer = portal.client.post(
                "/predict", files={"file": (file.name, file.read_bytes())}, headers={"Accept": "application/json"}
            ).json()
            assert [row["score"] for row in answer["predictions"]] == [row["score"] for row in expected], file.name
            assert [row["verdict"] for row in answer["predictions"]] == [row["verdict"] for row in expected]
        answer = portal.client.post("/predict", json={"rows": bare.to_pylist()}).json()
        assert [row["score"] for row in answer["predictions"]] == [row["score"] for row in expected]


def test_the_stream_scores_alike(bundle, nsl_schema, bare, expected, tmp_path):
    queue, feed, alerts = MemoryQueue(), MemoryFeed(), EmbeddedAlertStore(tmp_path / "alerts.sqlite")
    worker = Worker("w", queue, alerts, feed, in_charge(bundle, nsl_schema), StreamSettings())
    queue.publish(pack(batch_of(with_ids(FlowTable(bare, "nsl_kdd")))))
    worker.work_once(threading.Event())
    ((_, body),) = feed.after("", 1, 0)
    assert judged(read_scored(body).flows.to_pylist()) == expected
    assert alerts.count() == sum(row["score"] >= row["threshold"] for row in expected)
    alerts.close()


@pytest.mark.slow
def test_bentoml_scores_records_and_arrays_alike(settings, model, bare, expected, tmp_path):
    with served("service:Netwarden", bentoml_env(tmp_path / "bentoml", settings), tmp_path / "log") as client:
        assert client.post("/score", json={"rows": bare.to_pylist()}).json() == expected
        array = client.post("/predict", json={"input_data": as_codes(model, bare).tolist()}).json()
        assert array == prediction(model.score(bare)).to_pylist()


def test_a_flow_scores_alone_as_it_does_among_others_and_in_any_order(model, bare, expected):
    order = np.random.default_rng(1).permutation(len(bare))
    shuffled = model.score(bare.take(pa.array(order)).select(bare.column_names[::-1])).to_pylist()
    assert [expected[position] for position in order] == shuffled


def test_an_array_read_back_from_its_bytes_scores_as_the_one_in_memory(model, bare):
    array = as_codes(model, bare)
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float32))
    buffer.seek(0)
    assert model.score(np.load(buffer)).equals(model.score(array.astype(np.float32).astype(float)))
