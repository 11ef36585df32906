"""POST /predict of a capture: its flows with endpoints, ports, time and verdict."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from netwarden.flows.schema import load_schema
from tests.capture.frames import ACK, FIN, SYN, Packet, capture
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT, given
from tests.portal.conftest import Portal, listening, make_champion, portal_settings

JSON = {"Accept": "application/json"}
CALL = [
    Packet(1_600_000_000_000_000, source_port=5005, flags=SYN),
    Packet(1_600_000_000_001_000, source_port=5005, flags=SYN | ACK).reversed(),
    Packet(1_600_000_000_002_000, source_port=5005, payload=9),
    Packet(1_600_000_000_003_000, source_port=5005, flags=FIN | ACK).reversed(),
]


@pytest.fixture(scope="module")
def portal(tmp_path_factory) -> Iterator[Portal]:
    """A portal whose detectors read flows of the meter in both modes, and NSL-KDD."""
    folder = tmp_path_factory.mktemp("capture-portal")
    settings = portal_settings(folder)
    for name in ("nsl_kdd", "cic_flow", "netwarden_flow"):
        schema = load_schema(name, ROOT / "schema")
        make_champion(settings, train_bundle(folder / name, schema, made_up_flows(schema, 1500, 1)))
    with listening(settings) as listened:
        yield listened


def send(portal, content: bytes, name: str, schema: str, headers=JSON):
    return portal.client.post("/predict", files={"file": (name, content)}, data={"schema": schema}, headers=headers)


@pytest.mark.parametrize("schema", ["cic_flow", "netwarden_flow"])
def test_a_capture_comes_back_as_flows_with_endpoints_time_and_verdict(portal, schema):
    answer = send(portal, capture(CALL), "call.pcap", schema).json()
    [flow] = answer["predictions"]
    assert (flow["src_ip"], flow["src_port"], flow["dst_ip"], flow["dst_port"]) == ("10.0.0.1", 5005, "10.0.0.2", 80)
    assert flow["protocol"] == 6 and flow["started_at"].startswith("2020-09-13T12:26:40")
    assert flow["verdict"] in {"benign", "known_attack", "novel"}
    assert answer["notes"] == ["4 frames held 4 packets of 1 flows"]


def test_a_real_capture_shows_its_flows_on_a_page(portal):
    content = given("NETWARDEN_PCAPS", "WebattackXSS.pcap.gz").read_bytes()
    page = send(portal, content, "WebattackXSS.pcap.gz", "cic_flow", {"Accept": "text/html"})
    assert page.status_code == 200
    assert "172.16.0.1" in page.text and "2017-07-06 13:15" in page.text
    assert "9,374 frames" in page.text and 'class="badge ' in page.text


def test_a_detector_of_other_flows_refuses_a_capture_in_one_sentence(portal):
    answer = send(portal, capture(CALL), "call.pcapng", "nsl_kdd")
    assert answer.status_code == 422
    assert "call.pcapng is a packet capture, and flows of schema nsl_kdd are not metered" in answer.text


def test_a_file_that_only_says_it_is_a_capture_is_refused_without_naming_our_folders(portal):
    answer = send(portal, b"row,of\n1,2\n", "call.pcap", "netwarden_flow")
    assert answer.status_code == 422
    assert "call.pcap is no capture file" in answer.text and str(Path(portal.settings.home)) not in answer.text


def test_the_upload_form_offers_captures(portal):
    page = portal.client.get("/").text
    assert ".pcap, .pcapng" in page and ".zst" in page
