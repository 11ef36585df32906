"""What a detector sees of a recording, by activity."""

import pyarrow.parquet as pq
import pytest

from netwarden.errors import InputError
from netwarden.flows.schema import load_schema
from netwarden.lab.detected import Seen, detect
from netwarden.scoring.model import load
from netwarden.settings import Settings
from tests.fixtures.bundles import made_up_flows, train_bundle
from tests.fixtures.data import ROOT
from tests.fixtures.lab_days import made_up_day

SCHEMA = load_schema("netwarden_flow", ROOT / "schema")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detected")
    return Settings(workspace=ROOT, home=folder, datasets=folder)


@pytest.fixture(scope="module")
def bundle(settings):
    train_bundle(settings.home / "bundle", SCHEMA, made_up_flows(SCHEMA, 1500, 1))
    return str(settings.home / "bundle")


def write(folder, flows):
    labels = flows.column("label").to_pylist()
    pq.write_table(flows.append_column("family", [labels]), folder / "flows.parquet")


def test_alerts_are_counted_by_activity_over_all_hosts_attacks_first(settings, bundle, tmp_path):
    flows = made_up_day(5, 400, SCHEMA).flows
    write(tmp_path, flows)
    found = detect(tmp_path, settings, bundle)
    alerts = [result["score"] >= result["threshold"] for result in load(bundle, settings).score(flows).to_pylist()]
    names = [name.removesuffix("@pc") for name in flows.column("activity").to_pylist()]
    seen = {one.activity: (one.flows, one.alerts) for one in found.activities}
    assert seen == {
        name: (names.count(name), sum(alert for other, alert in zip(names, alerts, strict=True) if other == name))
        for name in set(names)
    }
    assert [one.label for one in found.activities][-2:] == ["benign", "benign"]
    assert Seen("port_scan", "port_scan", "masscan", *seen["port_scan"]) in found.activities
    benign = names.count("browsing") + names.count("backup")
    told = [line.rsplit(maxsplit=3)[:2] for line in str(found).splitlines()[-2:]]
    assert told == [["all attacks", str(len(names) - benign)], ["all benign", str(benign)]]


def test_a_folder_without_flows_is_refused(settings, bundle, tmp_path):
    with pytest.raises(InputError, match=r"is no recording: it has no flows\.parquet"):
        detect(tmp_path, settings, bundle)
    write(tmp_path, made_up_day(5, 400, SCHEMA).flows.slice(0, 0))
    with pytest.raises(InputError, match=r"holds no flows; its summary\.json and logs/ say"):
        detect(tmp_path, settings, bundle)
