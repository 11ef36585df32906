"""Two recordings of a scenario are compared label by label."""

import json

import pytest

from netwarden.errors import InputError
from netwarden.lab.repeat import compare_recordings


def recording(folder, scenario="smoke", **labels):
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps({"scenario": scenario, "labels": labels}))
    return folder


def test_labels_beyond_five_percent_are_named(tmp_path):
    found = compare_recordings(
        recording(tmp_path / "a", benign=100, syn_scan=20, worm_spread=3),
        recording(tmp_path / "b", benign=105, syn_scan=22, udp_scan=1),
    )
    assert found.differing == ("syn_scan", "udp_scan", "worm_spread")
    assert str(found).endswith("smoke: 1 of 4 labels within 5%; beyond it: syn_scan, udp_scan, worm_spread")


def test_recordings_of_different_scenarios_and_other_folders_are_refused(tmp_path):
    smoke = recording(tmp_path / "a", benign=1)
    with pytest.raises(InputError, match=r"is of smoke, .*b of day-1; compare recordings of one"):
        compare_recordings(smoke, recording(tmp_path / "b", scenario="day-1", benign=1))
    with pytest.raises(InputError, match=r"is no recording: it has no summary\.json"):
        compare_recordings(smoke, tmp_path)
