"""service.py behind a real `bentoml serve`, over HTTP."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest

from netwarden.scoring.batch import prediction
from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, serving, wait_until

pytestmark = pytest.mark.slow

BENTOML = str(Path(sys.executable).with_name("bentoml"))
STORE = "from netwarden.detectors.bundle import load_bundle; from netwarden.training.bento import store_in_bentoml; "


def bentoml_env(home: Path, settings) -> dict[str, str]:
    return {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "NETWARDEN_HOME": str(settings.home),
        "NETWARDEN_WORKSPACE": str(ROOT),
        "no_proxy": "127.0.0.1",
    }


@contextmanager
def served(where: str, env: dict[str, str], log: Path):
    """HTTP client of a running service."""
    port = free_port()
    command = [BENTOML, "serve", where, "--host", "127.0.0.1", "--port", str(port), "--working-dir", str(ROOT)]
    with serving(command, port, log, env), httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_until(lambda: alive(client), f"start of the service ({log})", 120)
        yield client


def alive(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.HTTPError:
        return False


def store(bundle_folder: Path, env: dict[str, str]) -> str:
    code = STORE + f"from pathlib import Path; print(store_in_bentoml(load_bundle(Path({str(bundle_folder)!r}))))"
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | env, capture_output=True, text=True, check=True)
    return run.stdout.strip().splitlines()[-1]


def as_codes(model, table) -> np.ndarray:
    codes = model.category_codes()
    columns = [
        [codes[name][value] for value in table[name].to_pylist()] if name in codes else table[name].to_pylist()
        for name in table.column_names
    ]
    return np.array(columns, float).T


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
        answer = client.post("/score", json={"rows": bare.slice(0, 1).to_pylist()})
        assert answer.status_code == 503
        assert "no detector serves: the registry has no champion and BentoML's store no netwarden" in answer.text


def test_a_damaged_champion_is_not_replaced_by_the_packed_model(settings, bundle, bare, tmp_path):
    env = bentoml_env(tmp_path / "bentoml", settings)
    assert store(bundle.folder, env) == f"netwarden:{bundle.bundle_id}"
    (settings.bundles_dir / bundle.bundle_id / "binary.ubj").write_bytes(b"changed")
    with served("service:Netwarden", env, tmp_path / "log") as client:
        assert client.get("/readyz").status_code == 503
        answer = client.post("/score", json={"rows": bare.slice(0, 1).to_pylist()})
        assert answer.status_code == 503
        assert "binary.ubj has another sha256" in answer.text


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
    # the packed copy is verified like any other
    (file,) = (tmp_path / "bentoml" / "models").rglob("binary.ubj")
    shutil.copy(file, tmp_path / "sound.ubj")
