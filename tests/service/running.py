"""Starting `bentoml serve` and writing arrays for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from tests.fixtures.data import ROOT
from tests.fixtures.servers import free_port, serving, wait_until

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
def served(where: str, env: dict[str, str], log: Path) -> Iterator[httpx.Client]:
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
