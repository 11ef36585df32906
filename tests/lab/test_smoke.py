"""The smoke scenario by its make target: every attack flow carries the label that the scenario promised, no other does.

What is expected is worked out anew from the scenario (who, against whom, when, over which ports) and from what the
programs say they did, not from the devices by which the router tells activities apart.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from netwarden.capture.pcap import read_capture
from netwarden.lab.record import meter_recording
from netwarden.lab.runner import play
from netwarden.lab.scenario import load_scenario
from netwarden.lab.truth import ground_truth, label_flows, load_truth

REPOSITORY = Path(__file__).parents[2]
BENIGN_PORTS = {"web": {80, 443, 8080}, "core": {53}}
LATE = timedelta(seconds=4)  # connections that an activity leaves behind are closed by their servers
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def scenario():
    return load_scenario(REPOSITORY / "lab" / "scenarios" / "smoke.yaml")


@pytest.fixture(scope="module")
def recording(laboratory, tmp_path_factory):
    """The folder that `make lab SCENARIO=smoke` fills."""
    folder = tmp_path_factory.mktemp("lab") / "smoke"
    venv = Path(sys.prefix)
    installed = [word for stamp in (".installed-core", ".installed-dev") for word in ("-o", str(venv / stamp))]
    made = subprocess.run(
        ["make", *installed, f"VENV={venv}", "lab", "SCENARIO=smoke", f"RECORDING={folder}"],
        cwd=REPOSITORY, check=False, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def flows(recording):
    return pq.read_table(recording / "flows.parquet").to_pylist()


def of(flows, activity):
    return [flow for flow in flows if flow["activity"].partition("@")[0] == activity]


def test_every_flow_of_the_attacker_is_an_attack_and_lies_within_its_activities_times(flows, scenario):
    attacker = scenario.addresses["attacker"]
    there = [flow for flow in flows if attacker in (flow["src_ip"], flow["dst_ip"])]
    assert {flow["label"] for flow in there} == {"syn_scan", "slow_headers"}
    for activity in scenario.activities:
        for flow in of(flows, activity.id):
            begins = scenario.starts + timedelta(seconds=activity.from_s)
            assert begins <= flow["started_at"] <= scenario.starts + timedelta(seconds=activity.until_s) + LATE, flow


def test_every_flow_between_ports_that_nothing_benign_uses_is_an_attack(flows, scenario):
    host_of = {address: name for name, address in scenario.addresses.items()}
    for flow in flows:
        if flow["protocol"] not in (6, 17):
            continue
        usual = BENIGN_PORTS.get(host_of[flow["dst_ip"]], set())
        if flow["dst_port"] not in usual:
            assert flow["label"] != "benign", flow
        if flow["label"] == "benign":
            assert host_of[flow["src_ip"]] in ("office-1", "office-2", "core"), flow


def test_every_probe_of_a_scan_is_there_once_under_its_label(flows, scenario):
    web, core = scenario.addresses["web"], scenario.addresses["core"]
    assert Counter(flow["dst_port"] for flow in of(flows, "half-open")).keys() == set(range(1, 301))
    assert {flow["label"] for flow in of(flows, "half-open")} == {"syn_scan"}
    looked = Counter((flow["dst_ip"], flow["dst_port"]) for flow in of(flows, "connects"))
    assert looked == dict.fromkeys([(host, port) for host in (web, core) for port in range(50, 100)], 1)
    asked = [flow for flow in of(flows, "datagrams") if flow["protocol"] == 17]
    assert Counter(flow["dst_port"] for flow in asked).keys() == set(range(40, 61))


def test_the_icmp_errors_that_a_scan_provokes_are_the_scans(flows, scenario):
    errors = [flow for flow in flows if flow["protocol"] == 1 and flow["src_port"] == 3]
    assert [(flow["src_ip"], flow["activity"], flow["label"]) for flow in errors] == [
        (scenario.addresses["core"], "datagrams@office-2", "udp_scan")
    ]


def test_what_one_host_does_over_one_port_at_one_time_is_told_apart(flows, scenario):
    web, office = scenario.addresses["web"], scenario.addresses["office-2"]
    over_80 = [flow for flow in flows if (flow["src_ip"], flow["dst_ip"], flow["dst_port"]) == (office, web, 80)]
    assert {flow["label"] for flow in over_80} == {"benign", "horizontal_port_scan"}
    assert sum(flow["label"] == "horizontal_port_scan" for flow in over_80) == 1  # the scanner looked once


def test_programs_report_as_many_as_there_are_flows_of_theirs(flows, recording):
    reports = json.loads((recording / "summary.json").read_text())["reports"]
    counts = Counter(flow["activity"] for flow in flows)
    assert counts["connects@office-2"] == reports["connects@office-2"]["looks"] == 100
    assert counts["dripping@attacker"] == reports["dripping@attacker"]["connections"] == 20
    assert counts["monitor@core"] == reports["monitor@core"]["looks"]
    for host in ("office-1", "office-2"):
        # the kernel may pick a port again, and questions over one port are one flow
        assert counts[f"names@{host}"] >= 0.9 * reports[f"names@{host}"]["questions"]
        assert counts[f"browsing@{host}"] <= 2 * reports[f"browsing@{host}"]["sessions"] + 2
    assert not [name for name, report in reports.items() if "failed" in report]
    assert {flow["activity"] for flow in flows} <= {name for name in reports if not name.startswith("service:")}


def test_the_capture_gives_the_recorded_flows_again_and_its_times_only_rise(flows, recording):
    assert sorted(path.name for path in recording.iterdir()) == [
        "capture.pcap.zst", "flows.parquet", "logs", "summary.json", "truth.json.gz",
    ]  # fmt: skip
    again = meter_recording(recording / "capture.pcap.zst")
    labels = label_flows(again, load_truth(recording / "truth.json.gz"))
    assert again.arrow.column("flow_id").to_pylist() == [flow["flow_id"] for flow in flows]
    assert labels.column("label").to_pylist() == [flow["label"] for flow in flows]
    frames = read_capture(recording / "capture.pcap.zst")
    times = [time_ns for batch in frames for time_ns in batch.records["time_ns"].tolist()]
    assert len(times) > 1000
    assert all(later > earlier for earlier, later in pairwise(times))


def test_the_same_scenario_again_gives_the_same_labels_and_per_label_as_many_flows_within_5_percent(
    flows, scenario, tmp_path
):
    played = play(scenario, tmp_path, lambda _text: None)
    labels = label_flows(meter_recording(tmp_path / "capture.pcap"), ground_truth(scenario, played))
    before, after = Counter(flow["label"] for flow in flows), Counter(labels.column("label").to_pylist())
    assert set(before) == set(after)
    assert {label: count for label, count in after.items() if abs(count - before[label]) > 0.05 * before[label]} == {}
