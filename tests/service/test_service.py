"""service.py behind a real `bentoml serve`, over HTTP."""

import json
import os
import subprocess

import pytest

from netwarden.scoring.output import prediction
from tests.fixtures.data import ROOT
from tests.service.running import BENTOML, as_codes, bentoml_env, served, store

pytestmark = pytest.mark.slow


def test_the_champion_scores_over_http_as_it_does_in_python(settings, model, bare, tmp_path):
    env = bentoml_env(tmp_path / "bentoml", settings)
    with served("service:Netwarden", env, tmp_path / "log") as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/info", json={}).json()["bundle_id"] == model.bundle.bundle_id
        expected = model.score(bare)
        rows = client.post("/score", json={"rows": bare.to_pylist()})
        assert rows.json() == expected.to_pylist()
        arrays = client.post("/predict", json={"input_data": as_codes(model, bare).tolist()})
        assert arrays.json() == prediction(expected).to_pylist()
        assert -1 in arrays.json()

        wide = client.post("/predict", json={"input_data": [[1.0, 2.0]]})
        assert wide.status_code == 400
        assert "has 2 columns; schema nsl_kdd has 41 features" in wide.text
        lacking = client.post("/score", json={"rows": [{"duration": 1}]})
        assert lacking.status_code == 400
        assert "40 of 41 columns of schema nsl_kdd missing" in lacking.text


def test_without_a_model_it_starts_but_is_not_ready_and_scores_nothing(empty_settings, bare, tmp_path):
    env = bentoml_env(tmp_path / "bentoml", empty_settings)
    with served("service:Netwarden", env, tmp_path / "log") as client:
        assert client.get("/readyz").status_code == 503
        assert client.post("/score", json={"rows": bare.slice(0, 1).to_pylist()}).status_code == 503
        why = client.post("/info", json={}).json()["error"]
        assert "no detector serves: the registry has no champion and BentoML's store no netwarden" in why
        assert why in (tmp_path / "log").read_text()


def test_a_damaged_champion_is_not_replaced_by_the_packed_model(settings, bundle, bare, tmp_path):
    env = bentoml_env(tmp_path / "bentoml", settings)
    assert store(bundle.folder, env) == f"netwarden:{bundle.bundle_id}"
    (settings.bundles_dir / bundle.bundle_id / "binary.ubj").write_bytes(b"changed")
    with served("service:Netwarden", env, tmp_path / "log") as client:
        assert client.get("/readyz").status_code == 503
        assert client.post("/score", json={"rows": bare.slice(0, 1).to_pylist()}).status_code == 503
        assert "binary.ubj has another sha256" in client.post("/info", json={}).json()["error"]


def test_a_bundle_in_the_store_is_listed_and_serves_from_a_built_bento(empty_settings, bundle, bare, model, tmp_path):
    env = bentoml_env(tmp_path / "bentoml", empty_settings)
    store(bundle.folder, env)
    env["NETWARDEN_HOME"] = str(tmp_path / "elsewhere")
    listed = subprocess.run(
        [BENTOML, "models", "list", "-o", "json"], env=os.environ | env, capture_output=True, text=True, check=True
    )
    assert f"netwarden:{bundle.bundle_id}" in json.dumps(json.loads(listed.stdout))
    built = subprocess.run(
        [BENTOML, "build", str(ROOT), "-o", "tag"], env=os.environ | env, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    tag = built.stdout.strip().removeprefix("__tag__:")
    with served(tag, {**env, "NETWARDEN_WORKSPACE": ""}, tmp_path / "log") as client:
        rows = bare.slice(0, 20).to_pylist()
        assert client.post("/score", json={"rows": rows}).json() == model.score(rows).to_pylist()
        train = client.post("/train", json={})
        assert train.status_code == 400
        assert "training needs a checkout, not a Bento" in train.text
