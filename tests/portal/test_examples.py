"""The examples work as they stand, and so does the body that Python's cicflowmeter posts."""

import json
import re
import shutil
import subprocess
from contextlib import closing

import pytest

from netwarden.flows.schema import load_schema
from netwarden.scoring.intake import read_table
from netwarden.scoring.python_meter import in_seconds
from netwarden.scoring.records import raw_table
from netwarden.sources.connect import open_alert_store
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, make_champion, portal_settings

EXAMPLES = ROOT / "examples"
COMMANDS = re.findall(r"^curl .*$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def three(bundle, tmp_path_factory):
    """A portal with a detector for each kind of flow that the examples hold."""
    folder = tmp_path_factory.mktemp("three")
    settings = portal_settings(folder)
    make_champion(settings, bundle)
    for name in ("cic_flow", "netwarden_flow"):
        schema = load_schema(name, ROOT / "schema")
        make_champion(settings, train_bundle(folder / name, schema, made_up_flows(schema, 600, seed=1)))
    with listening(settings) as running:
        yield running


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_every_line_of_the_examples_is_answered(three):
    assert len(COMMANDS) == 8
    for command in COMMANDS:
        line = command.replace("localhost:8000", three.address.removeprefix("http://"))
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if "-o " not in command:
            assert json.loads(done.stdout), command


def test_the_body_that_python_s_cicflowmeter_posts_is_judged_by_the_detector_of_such_flows(three):
    body = (EXAMPLES / "cicflowmeter.json").read_bytes()
    answer = three.client.post("/predict", content=body, headers={"Content-Type": "application/json"}).json()
    assert (answer["schema_id"], answer["rows"], answer["rejected"]) == ("cic_flow", 1, 0)
    (flow,) = answer["predictions"]
    assert (flow["src_ip"], flow["dst_port"], flow["started_at"][:10]) == ("10.31.9.23", 8080, "2026-03-06")
    if flow["prediction"] == -1:
        with closing(open_alert_store(three.settings)) as store:
            assert store.find({"source": "10.31.9.23"}).alerts


def test_times_in_seconds_and_in_microseconds_are_the_same_flow():
    schema = load_schema("cic_flow", ROOT / "schema")
    old = json.loads((EXAMPLES / "cicflowmeter.json").read_text())
    assert old["flow_duration"] == 143535.0
    later = in_seconds(old, schema)
    assert later["flow_duration"] == 0.143535
    assert later["tot_fwd_pkts"] == old["tot_fwd_pkts"]
    assert in_seconds(later, schema) is later
    rows = [read_table(raw_table([in_seconds(flow, schema)], schema), schema).table.arrow for flow in (old, later)]
    assert rows[0].equals(rows[1])
    assert rows[0].column("flow_duration_us").to_pylist() == [143535]
    assert rows[0].column("flow_iat_mean_us").to_pylist() == [pytest.approx(23922.5)]
