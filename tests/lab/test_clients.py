"""The benign clients and the servers of the lab, on the lab's own network."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from netwarden.lab import programs
from netwarden.lab.clients.look_up import question
from netwarden.lab.clients.sessions import starts
from netwarden.lab.play import Part
from netwarden.lab.runner import play
from netwarden.lab.scenario import load_scenario
from netwarden.lab.services.dns_server import AAAA, MX, NULL, TXT, A, Resolver

EVERY_CLIENT = Path(__file__).with_name("every_client.yaml")
DAYS = Path(__file__).parents[2] / "lab" / "scenarios"

needs_lab = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip") or not Path("/dev/net/tun").exists(),
    reason="needs root, iproute2 and /dev/net/tun",
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What every benign client reported after a few seconds on the lab's network."""
    scenario = load_scenario(EVERY_CLIENT)
    missing = programs.missing_packages(programs.programs(scenario).values())
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return play(scenario, tmp_path_factory.mktemp("played"), lambda _line: None).reports


def test_the_scenario_of_this_test_has_every_benign_client_and_every_service():
    scenario = load_scenario(EVERY_CLIENT)
    declared = {program.module for program in programs.programs(scenario).values()}
    assert declared == {
        program.module for program in programs.all_programs().values() if ".attacks." not in program.module
    }


@needs_lab
def test_no_benign_client_fails_and_each_gets_its_work_done(reports):
    clients = {name: report for name, report in reports.items() if not name.startswith("service:")}
    assert not {name: report for name, report in clients.items() if "failures" in report or "sessions" not in report}
    about_itself = {"sessions", "still_running", "first_failure"}
    assert [name for name, report in clients.items() if not set(report) - about_itself] == []


@needs_lab
def test_what_is_misconfigured_is_refused_every_time(reports):
    vain = {name: report for name, report in reports.items() if name.startswith("vain-")}
    assert len(vain) == 7
    assert all(report["tries"] == report["refused"] > 0 for report in vain.values()), vain


@needs_lab
def test_the_monitor_finds_the_open_ports_among_the_closed_ones(reports):
    # 80 and 443 of web, 21 and 22 of shell, 25 of mail; the three closed UDP ports and the rest are not
    assert reports["monitor@core"]["open"] == 5 < reports["monitor@core"]["looks"]


def test_sessions_start_at_the_same_times_for_the_same_seed_and_follow_the_hours():
    options = {"sessions": 1000, "hours": [1, 3]}
    drawn = starts(options, 100.0, random.Random(5))
    assert drawn == sorted(drawn) == starts(options, 100.0, random.Random(5))
    assert 200 < sum(start < 50 for start in drawn) < 300
    assert all(0 <= start < 100 for start in drawn)


def test_sessions_on_the_beat_keep_their_distance_within_the_jitter():
    steady = starts({"every_s": 10}, 100.0, random.Random(5))
    gaps = [later - earlier for earlier, later in pairwise(steady)]
    assert len(steady) == 10
    assert gaps == pytest.approx([10.0] * 9)
    strayed = starts({"every_s": 10, "jitter": 0.2}, 100.0, random.Random(5))
    assert all(abs(there - here) <= 2.0 for there, here in zip(strayed, steady, strict=True))


@pytest.fixture
def resolver(tmp_path):
    part = Part("names", "core", "127.0.0.1", {}, {"slow_ms": [0, 0]}, 1, 0.0, tmp_path)
    return Resolver(part)


def _resolve(resolver, name, kind, largest=65_000):
    return asyncio.run(resolver.resolve(question(name, kind, 7, extended=True), largest))


def test_the_resolver_answers_any_name_with_data_of_the_size_asked_for(resolver):
    for kind in (TXT, NULL):
        assert 300 <= len(_resolve(resolver, "abcdef.s300.tunnel.example", kind)) < 400
    assert all(_resolve(resolver, "www.example.com", kind)[7] > 0 for kind in (A, AAAA, MX))


def test_the_resolver_cuts_what_is_too_long_and_denies_what_does_not_exist(resolver):
    cut = _resolve(resolver, "abcdef.s2000.tunnel.example", TXT, largest=1232)
    assert cut[2] & 0x02
    assert len(cut) < 100
    assert _resolve(resolver, "printer.home", A)[3] & 0x0F == 3
    assert asyncio.run(resolver.resolve(b"not dns")) == b""


@pytest.mark.parametrize("day", range(1, 6))
def test_each_day_loads_and_all_its_programs_exist(day):
    scenario = load_scenario(DAYS / f"day-{day}.yaml")
    assert programs.programs(scenario)
    assert sum(activity.label is None for activity in scenario.activities) >= 60


def test_the_page_on_programs_names_every_service_and_benign_client():
    page = (DAYS.parents[1] / "docs" / "lab-programs.md").read_text(encoding="utf-8")
    modules = [program.module for program in programs.all_programs().values() if ".attacks." not in program.module]
    assert [module for module in modules if f"`{module.rpartition('.')[2]}`" not in page] == []
