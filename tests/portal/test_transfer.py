"""Answers are compressed and named, and the reference in the tree is that of the portal."""

import subprocess
import sys

import httpx
import yaml

from tests.fixtures.data import ROOT


def test_text_is_compressed_for_those_who_can_read_it(portal):
    plain = portal.client.get("/docs", headers={"Accept-Encoding": "identity"})
    packed = portal.client.get("/docs", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert (packed.headers["content-encoding"], packed.text) == ("gzip", plain.text)
    assert "Accept-Encoding" in packed.headers["vary"]
    assert len(portal.client.get("/openapi.json").content) > 20_000


def test_small_and_binary_answers_and_events_are_not_compressed(portal):
    for path in ("/health", "/schemas/nsl_kdd/sample.npy"):
        assert "content-encoding" not in portal.client.get(path).headers, path
    with portal.client.stream("GET", "/api/v1/alerts/events") as events:
        assert "content-encoding" not in events.headers


def test_an_answer_that_the_client_has_already_is_not_sent_again(portal):
    for path in ("/api/v1/alerts", "/openapi.json"):
        first = portal.client.get(path)
        tag = first.headers["etag"]
        again = portal.client.get(path, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
        assert "no-store" not in first.headers["cache-control"]
        assert portal.client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    assert "etag" not in portal.client.get("/").headers


def test_the_reference_in_the_tree_is_that_of_the_portal(portal):
    kept = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
    told = httpx.get(f"{portal.address}/openapi.json").json()
    for document in (kept, told):
        document["info"].pop("version")
    assert kept == told, "run `make openapi`"


def test_the_command_writes_the_reference_alike(tmp_path):
    target = tmp_path / "openapi.yaml"
    subprocess.run([sys.executable, ROOT / "docs" / "openapi.py", target], check=True, cwd=ROOT, timeout=120)
    assert target.read_text() == (ROOT / "docs" / "openapi.yaml").read_text()
