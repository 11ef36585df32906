"""The `cicflowmeter` mode against the original tool's own output, flow by flow, feature by feature."""

import numpy as np
import pandas as pd
import pytest

from netwarden.capture.definitions import CICFLOWMETER_NAMES
from netwarden.capture.meter import cicflowmeter_settings
from netwarden.capture.metering import MeterReport, meter_captures
from tests.fixtures.data import given

CAPTURES = ("WebattackXSS", "ftp", "malicious-ssh-bruteforce", "netflix", "skype", "test-cc-capture-1", "vnc", "wechat")
# ARP frames that the original reads as IPv4: no such hosts speak in the capture.
PHANTOMS = {"skype": ["8.6.0.1-8.0.6.4-0-0-0", "8.6.0.1-8.0.6.4-0-0-0"]}
IDENTITY = ["Src IP", "Dst IP", "Src Port", "Dst Port", "Protocol"]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_flow_of_the_original_has_the_same_76_features(name):
    reference = pd.read_csv(given("NETWARDEN_PCAPS", "reference", f"{name}.csv.gz"))
    ours = _metered(name)
    joined = _keyed(reference).merge(
        _keyed(ours), on=["key", "nth"], how="outer", suffixes=("", " ours"), indicator=True
    )
    phantoms = sorted(joined.loc[joined["_merge"] == "left_only", "key"])
    assert phantoms == PHANTOMS.get(name, [])
    assert not (joined["_merge"] == "right_only").any()
    both = joined[joined["_merge"] == "both"]
    assert {feature: _differing(both, feature) for feature in _features() if _differing(both, feature)} == {}


def test_there_are_76_features():
    assert len(_features()) == 76


def _features():
    identity = {"Flow ID", *IDENTITY, "Timestamp", "Label"}
    return [name for name in CICFLOWMETER_NAMES.values() if name not in identity]


def _metered(name):
    path = given("NETWARDEN_PCAPS", f"{name}.pcap.gz")
    tables = [table.arrow for table in meter_captures([path], cicflowmeter_settings(), report=MeterReport())]
    frame = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    return frame.rename(columns=CICFLOWMETER_NAMES)


def _keyed(frame):
    """Flows of one five-tuple are told apart by their order in time and size."""
    key = frame[IDENTITY[0]].str.cat(
        [frame[name].astype(str) for name in ("Dst IP", "Src Port", "Dst Port", "Protocol")], "-"
    )
    keyed = frame.assign(key=key).sort_values(["key", "Flow Duration", "Total Fwd Packet", "Flow IAT Mean"])
    return keyed.assign(nth=keyed.groupby("key").cumcount()).copy()


def _differing(both, feature):
    theirs, ours = both[feature].to_numpy(float), both[f"{feature} ours"].to_numpy(float)
    unset = ~np.isfinite(theirs) & ~np.isfinite(ours)  # rates of flows without duration
    close = np.abs(theirs - ours) <= np.maximum(1e-6, 1e-9 * np.abs(theirs))
    return int((~(close | unset)).sum())
