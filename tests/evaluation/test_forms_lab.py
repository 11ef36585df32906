"""The lab's forms are compared by names and tools that their fit has not seen, on another day than it has."""

import importlib

import numpy as np
import pytest

from netwarden.detectors.base import FitRows
from tests.fixtures.data import ROOT

NAMES = {"syn_flood": "dos", "udp_flood": "dos", "syn_scan": "probe", "udp_scan": "probe", "web_xss": "web_attack"}


@pytest.fixture
def forms_lab(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("bench_forms_lab")


@pytest.fixture
def days(forms_lab):
    """Ten rows a day of each name by each of three tools, web_xss by one alone, and a hundred benign ones."""
    played = [(name, tool) for name in NAMES for tool in ("own", "nmap", "hping3")[: 1 if name == "web_xss" else 3]]
    rows = [(name, tool) for name, tool in played for _ in range(10)] + [("benign", "")] * 100
    labels, tools = (np.array(each * len(forms_lab.DAYS)) for each in zip(*rows, strict=True))
    families = np.array([NAMES.get(name, "benign") for name in labels])
    matrix = np.zeros((len(labels), 2), np.float32)
    day = np.repeat(forms_lab.DAYS, len(rows))
    fitted = FitRows.of(matrix, labels, families, (False, False))
    return forms_lab.Days(fitted, day, np.char.add(np.char.add(labels, " by "), tools))


def test_what_judges_as_unknown_is_unknown_to_the_fit(forms_lab, days):
    turns = list(forms_lab.turns_of(days, draw=0))
    assert len(turns) == 4 * len(forms_lab.DAYS)
    for turn in turns:
        shown = set(days.rows.labels[turn.fit]), set(days.played[turn.fit])
        assert not shown[0] & set(days.rows.labels[turn.judging["unknown"]])
        assert not shown[1] & set(days.played[turn.judging["other_tool"]])
        assert shown[0] >= set(days.rows.labels[turn.judging["other_tool"]])
        assert shown[1] >= set(days.played[turn.judging["known"]])
        assert not set(days.day[turn.fit]) & set(days.day[turn.quiet]) and not days.rows.attack[turn.quiet].any()
    for what in ("unknown", "other_tool", "known"):
        assert any(turn.judging[what].any() for turn in turns)


def test_every_name_and_every_tool_is_left_out_once(forms_lab, days):
    of_one_day = list(forms_lab.turns_of(days, draw=0))[:: len(forms_lab.DAYS)]
    left_out = [name for turn in of_one_day for name in set(days.rows.labels[turn.judging["unknown"]].tolist())]
    assert sorted(left_out) == sorted(NAMES)


def test_a_day_less_leaves_what_judges_as_it_is(forms_lab, days):
    for turn in forms_lab.turns_of(days, draw=0):
        less = forms_lab.less(days, turn)
        assert len(set(days.day[less.fit])) == 1 and less.judging is turn.judging
