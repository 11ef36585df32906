"""The capture that comes along is scored at the press of a button, with the truth beside its verdicts."""

import gzip
import re
import shutil
from collections.abc import Iterator

import pytest

from netwarden.flows.schema import load_schema
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.portal.conftest import Portal, listening, make_champion, portal_settings

START_US = 1_600_000_000_000_000
TRUTH = f"""src_ip,src_port,dst_ip,dst_port,protocol,started_at,label
10.0.0.1,5005,10.0.0.2,80,6,{START_US},port_scan
10.0.0.1,5006,10.0.0.2,80,6,{START_US + 5},benign
"""


def call(port: int, start_us: int) -> list[Packet]:
    return [
        Packet(start_us, source_port=port, flags=SYN),
        Packet(start_us + 1000, source_port=port, flags=SYN | ACK).reversed(),
        Packet(start_us + 2000, source_port=port, payload=9),
        Packet(start_us + 3000, source_port=port, flags=FIN | ACK).reversed(),
    ]


@pytest.fixture
def workspace(tmp_path):
    """A workspace with a demo of three flows, of which the truth knows two."""
    folder = tmp_path / "workspace"
    (folder / "lab").mkdir(parents=True)
    shutil.copytree(ROOT / "schema", folder / "schema")
    flows = sorted(
        [*call(5005, START_US), *call(5006, START_US + 5), *call(5007, START_US + 9)], key=lambda p: p.time_us
    )
    (folder / "lab" / "demo.pcap.gz").write_bytes(gzip.compress(capture(flows)))
    (folder / "lab" / "demo.truth.csv.gz").write_bytes(gzip.compress(TRUTH.encode()))
    return folder


@pytest.fixture
def portal(workspace, tmp_path) -> Iterator[Portal]:
    settings = portal_settings(tmp_path).model_copy(update={"workspace": workspace})
    schema = load_schema("netwarden_flow", ROOT / "schema")
    make_champion(settings, train_bundle(tmp_path / "bundle", schema, made_up_flows(schema, 1500, 1)))
    with listening(settings) as listened:
        yield listened


def test_the_button_scores_the_demo_and_the_page_shows_endpoints_and_truth(portal):
    assert 'action="/try"' in portal.client.get("/").text
    answer = portal.client.post("/try")
    assert answer.status_code == 303 and answer.headers["location"].startswith("/uploads/")
    page = portal.client.get(answer.headers["location"]).text
    assert "demo.pcap.gz" in page and "10.0.0.1" in page and "2020-09-13 12:26" in page
    assert re.search(r"\d of 1 attack flows alert, and \d of 1 benign ones", page)
    labels = re.findall(r'<td class="nowrap"><span class="[^"]*">(port_scan|benign|not known)</span>', page)
    assert sorted(labels) == ["benign", "not known", "port_scan"]
    assert "demo.pcap.gz" in portal.client.get("/").text


def test_other_uploads_have_no_truth(portal):
    files = {"file": ("call.pcap", capture(call(5005, START_US)))}
    page = portal.client.post("/predict", files=files, headers={"Accept": "text/html"}).text
    assert "Truth" not in page


def test_without_the_demo_there_is_no_button_and_the_address_says_why(portal, workspace):
    (workspace / "lab" / "demo.pcap.gz").unlink()
    assert 'action="/try"' not in portal.client.get("/").text
    answer = portal.client.post("/try", headers={"Accept": "application/json"})
    assert answer.status_code == 404 and "lab/demo.pcap.gz and lab/demo.truth.csv.gz come with" in answer.text


def test_a_detector_of_other_flows_offers_no_demo(empty_portal):
    assert 'action="/try"' not in empty_portal.client.get("/").text
    assert empty_portal.client.post("/try").status_code == 503
