"""What the image is made of, and what is known against it: make sbom and make audit."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fixtures.servers import free_port
from tests.packaging.test_locks import pins
from tests.packaging.test_make import ROOT


def test_the_bill_of_materials_names_every_locked_package_with_version_and_hash():
    run = subprocess.run(["make", "sbom"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    bill = json.loads((ROOT / "build/sbom.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "netwarden"
    assert {item["name"]: item["version"] for item in bill["components"]} == pins("requirements.lock")
    assert all(item["externalReferences"][0]["hashes"] for item in bill["components"])


def audit(**given: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | given
    return subprocess.run(["make", "audit"], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_an_advisory_against_a_locked_package_fails_the_audit_and_is_named():
    with advisories_against("jinja2") as address:
        found = audit(ADVISORIES=address)
    assert found.returncode != 0
    assert "PYSEC-2099-1" in found.stdout and f"jinja2 {pins('requirements.lock')['jinja2']}" in " ".join(
        found.stdout.split()
    )


def test_without_a_network_the_audit_says_that_it_was_not_done_but_fails_on_github():
    nowhere = f"http://127.0.0.1:{free_port()}/v1/query"
    here = audit(ADVISORIES=nowhere, GITHUB_ACTIONS="")
    assert here.returncode == 0 and "audit: not done, the advisories cannot be reached" in here.stdout
    assert audit(ADVISORIES=nowhere, GITHUB_ACTIONS="true").returncode != 0


@contextmanager
def advisories_against(name: str) -> Iterator[str]:
    """Address of a server that speaks as osv.dev does, and knows of one package."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": []}]
            known = {"vulns": [{"id": "PYSEC-2099-1", "summary": "made up", "affected": affected, "modified": "2099"}]}
            body = json.dumps(known if asked == name else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
