"""GET /train over TCP, with the real pipeline on a small dataset, in a workspace of its own."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from netwarden import jobs
from netwarden.portal.runs.runs import KIND, Run
from netwarden.sources.connect import open_lease
from netwarden.sources.leases import TRAINING
from tests.portal.conftest import Portal

HTML = {"Accept": "text/html"}

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]


def finish(portal: Portal) -> None:
    while job := jobs.running(portal.settings.home, KIND):
        job.wait(120)


def test_a_client_waits_and_hears_that_training_is_successful_and_the_new_bundle_serves(studio):
    answer = httpx.get(f"{studio.address}/train", timeout=200)
    assert (answer.status_code, answer.text) == (200, "Training is successful"), answer.text
    deadline = time.monotonic() + 5
    while studio.client.get("/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_json_clients_get_the_sentence_as_json(studio):
    answer = httpx.get(f"{studio.address}/train", headers={"Accept": "application/json"}, timeout=200)
    assert answer.json() == "Training is successful"


def test_respond_async_gives_the_address_of_a_run_that_events_follow_and_a_second_is_told_its_name(studio):
    started = studio.client.get("/train", headers={"Prefer": "respond-async"})
    assert started.status_code == 202
    run = Run.model_validate(started.json())
    assert started.headers["location"] == f"/runs/{run.id}"
    assert started.headers["preference-applied"] == "respond-async"
    busy = studio.client.get("/train")
    assert busy.status_code == 409
    assert busy.json()["run"] == run.id
    assert busy.json()["detail"] == f"train run {run.id} is under way; wait for it or cancel it"
    page = studio.client.get("/train", headers=HTML)
    assert page.status_code == 409
    assert f'href="/runs/{run.id}"' in page.text
    with studio.client.stream("GET", f"/runs/{run.id}/events", timeout=120) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        told = [Run.model_validate_json(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    assert (told[0].state, told[-1].state) == ("running", "succeeded")
    done = Run.model_validate(studio.client.get(f"/runs/{run.id}").json())
    assert (done.state, done.fraction) == ("succeeded", 1.0)
    assert [step.name for step in done.steps] == ["ingest", "validate", "transform", "train", "evaluate", "register"]
    assert {step.state for step in done.steps} == {"done"}


def test_while_another_machine_trains_on_this_store_a_client_is_told_who(studio):
    with closing(open_lease(studio.settings)) as lease, lease.hold(TRAINING, "netwarden@portal-7", ttl_s=30):
        refused = studio.client.get("/train")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "training is held by netwarden@portal-7; wait until it ends"


def test_a_run_can_be_cancelled(studio):
    run_id = studio.client.get("/train", headers={"Prefer": "respond-async"}).json()["id"]
    assert studio.client.post(f"/runs/{run_id}/cancel").status_code == 202
    finish(studio)
    assert studio.client.get(f"/runs/{run_id}").json()["state"] == "cancelled"


class _BrokenParams:
    """Parameters under which stage validate fails, for as long as the block runs."""

    def __init__(self, workspace: Path) -> None:
        self._path = workspace / "params.json"

    def __enter__(self) -> None:
        self._before = self._path.read_text()
        params = json.loads(self._before)
        params["validate"] = {**params.get("validate", {}), "min_rows_per_class": 100_000}
        self._path.write_text(json.dumps(params))

    def __exit__(self, *_: object) -> None:
        self._path.write_text(self._before)


def test_a_failed_run_is_a_500_that_names_the_stage(studio):
    with _BrokenParams(studio.settings.workspace):
        answer = httpx.get(f"{studio.address}/train", timeout=120)
    assert answer.status_code == 500
    assert answer.json()["stage"] == "validate"
    assert answer.json()["detail"].startswith("Training failed in stage validate: ")


def test_the_connection_survives_a_proxy_that_gives_up_on_silence(studio, monkeypatch):
    monkeypatch.setattr("netwarden.portal.runs.training._BEAT_S", 0.5)
    with _impatient_proxy(studio.address, idle_s=1.5) as address:
        headers = {"Prefer": "wait=1"}
        assert httpx.get(f"{address}/train", headers=headers, timeout=120).text.strip() == "Training is successful"
        with _BrokenParams(studio.settings.workspace), pytest.raises(httpx.RemoteProtocolError):
            # Too late for a 5xx: the transfer breaks off, and no client takes it for success.
            httpx.get(f"{address}/train", headers=headers, timeout=120)
    failed = Run.model_validate(studio.client.get(f"/runs/{jobs.recent(studio.settings.home, KIND)[0].id}").json())
    assert (failed.state, failed.stage) == ("failed", "validate")


@contextlib.contextmanager
def _impatient_proxy(address: str, idle_s: float) -> Iterator[str]:
    """Address of a TCP relay, one request a connection, that hangs up once the server is silent for `idle_s`."""
    target = ("127.0.0.1", int(address.rsplit(":", 1)[1]))

    def relay() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                with client, socket.create_connection(target, idle_s) as upstream, contextlib.suppress(OSError):
                    upstream.sendall(client.recv(65536))
                    while data := upstream.recv(65536):
                        client.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=relay)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
