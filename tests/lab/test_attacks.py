"""The attacks of the lab, each played once on the lab's own network, and what the five days promise about them."""

import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from netwarden.flows.labels import load_families
from netwarden.lab import programs
from netwarden.lab.attacks import hping3, targets
from netwarden.lab.play import Part
from netwarden.lab.record import record
from netwarden.lab.scenario import load_scenario
from netwarden.lab.services.accounts import ACCOUNTS, WEAK

REPOSITORY = Path(__file__).parents[2]
EVERY_ATTACK = load_scenario(Path(__file__).with_name("every_attack.yaml"))
IDS = [activity.id for activity in EVERY_ATTACK.activities if activity.label]
DAYS = [load_scenario(REPOSITORY / "lab" / "scenarios" / f"day-{day}.yaml") for day in range(1, 6)]
DONE = {  # what the report of each program counts, where its work was done
    **dict.fromkeys(("ab", "siege", "wrk", "web_attack", "beacon"), "requests"),
    **dict.fromkeys(("hping3", "nping"), "sent"),
    **dict.fromkeys(("netcat", "connect_scan", "spread"), "looks"),
    **dict.fromkeys(("gobuster", "ffuf", "dirb", "medusa"), "found"),
    **dict.fromkeys(("hydra", "guess_passwords"), "tries"),
    **{"nmap": "hosts", "slowhttptest": "held", "slow_http": "pieces", "flood_http": "answers", "sqlmap": "injectable"},
    **{"tunnel_dns": "questions", "exfiltrate": "bytes_out", "move_on": "taken"},
}


@pytest.fixture(scope="module")
def missing():
    """Attack programs whose tools are not installed, and which."""
    lacking = {name: programs.missing_packages([one]) for name, one in programs.programs(EVERY_ATTACK).items()}
    return {name: packages for name, packages in lacking.items() if packages}


@pytest.fixture(scope="module")
def recorded(laboratory, missing, tmp_path_factory):
    """Reports by activity, and labels and addresses of the flows by activity, of every attack whose tools are there."""
    services = {service.program for host in EVERY_ATTACK.hosts.values() for service in host.services}
    if unserved := {package for name in services for package in missing.get(name, ())}:
        pytest.skip(f"servers to attack are not installed: {', '.join(sorted(unserved))}")
    there = [activity for activity in EVERY_ATTACK.activities if activity.program not in missing]
    folder = tmp_path_factory.mktemp("attacks") / "recording"
    families = load_families(REPOSITORY / "schema" / "families.yaml")
    record(EVERY_ATTACK.model_copy(update={"activities": tuple(there)}), folder, families, lambda _line: None)
    flows = defaultdict(list)
    for flow in pq.read_table(folder / "flows.parquet").to_pylist():
        flows[flow["activity"].partition("@")[0]].append(flow)
    reports = json.loads((folder / "summary.json").read_text())["reports"]
    return {name.partition("@")[0]: report for name, report in reports.items()}, flows


@pytest.fixture
def part(tmp_path, monkeypatch):
    """Gives a part as a program gets it, in a scratch folder."""
    monkeypatch.chdir(tmp_path)

    def make(**options):
        return Part("test", "desk", "10.8.1.1", {"web": "10.8.2.1"}, options, 3, 0.0, tmp_path, rng=random.Random(3))

    return make


# --- every attack, once ---------------------------------------------------------------------------------------


def test_the_scenario_of_this_test_has_every_attack_program():
    played = {program.module for program in programs.programs(EVERY_ATTACK).values()}
    assert [one.module for one in programs.all_programs().values() if ".attacks." in one.module] == sorted(
        module for module in played if ".attacks." in module
    )


@pytest.mark.parametrize("activity", IDS)
def test_every_attack_does_its_work_and_all_its_flows_carry_its_label(activity, recorded, missing):
    said = next(one for one in EVERY_ATTACK.activities if one.id == activity)
    if said.program in missing:
        pytest.skip(f"not installed: {', '.join(missing[said.program])}")
    reports, flows = recorded
    assert "failed" not in reports[activity], reports[activity]
    done = DONE.get(said.program)
    assert done is None or reports[activity].get(done, 0) > 0, reports[activity]
    hosts = EVERY_ATTACK.addresses
    sources, wanted = {hosts[name] for name in said.on}, said.options["to"]
    victims = {hosts[name] for name in ([wanted] if isinstance(wanted, str) else wanted)}
    assert {flow["label"] for flow in flows[activity]} == {said.label}
    assert {address for flow in flows[activity] for address in (flow["src_ip"], flow["dst_ip"])} <= sources | victims


def test_flows_of_those_who_browse_meanwhile_on_the_same_hosts_stay_benign(recorded):
    _reports, flows = recorded
    assert {flow["label"] for flow in flows["pages"]} == {"benign"}
    assert len(flows["pages"]) >= 10


@pytest.mark.parametrize(("activity", "open_ports"), [
    ("nmap-syn", 3), ("nmap-connect", 1), ("nmap-udp", 1), ("nmap-service", 2), ("nc-scan", 2), ("own-scan", 3),
])  # fmt: skip
def test_scanners_see_the_answers_and_find_what_is_open(activity, open_ports, recorded):
    reports, _flows = recorded
    if activity not in reports:
        pytest.skip(f"{activity} needs a tool that is not installed")
    assert reports[activity]["open"] == open_ports


# --- how they are bounded -------------------------------------------------------------------------------------


def test_an_attack_does_not_run_outside_a_namespace_of_the_lab(tmp_path):
    given = {"run": "none", "name": "a@b", "host": "b", "address": "127.0.0.1", "hosts": {}, "seed": 1, "ends_at": 9e9}
    given |= {"options": {"to": "b", "technique": "connect"}, "folder": str(tmp_path)}
    for module in sorted(one.module for one in programs.all_programs().values() if ".attacks." in one.module):
        if module.endswith((".nmap", ".connect_scan", ".spread")):
            command = [sys.executable, "-m", module, json.dumps(given)]
            ran = subprocess.run(command, check=False, capture_output=True, text=True)
            assert ran.returncode == 1
            assert "outside a namespace of the lab" in ran.stderr


def test_an_attack_knows_no_address_but_those_of_the_scenario(part):
    assert targets.addresses(part(to=["web"])) == ["10.8.2.1"]
    with pytest.raises(SystemExit, match="is no host of this scenario"):
        targets.addresses(part(to=["web", "192.0.2.7"]))


def test_a_flood_of_a_slip_of_the_keyboard_is_cut_to_its_bound(part):
    options = {"kind": "udp", "count": 10**9, "interval_us": 5, "port": 53}
    command = hping3.command(part(to="web", **options), "10.8.2.1", "a1")
    assert "20000" in command
    assert "u1000" in command
    assert "1000000000" not in command


def test_ports_words_and_passwords_are_as_many_as_asked_and_end_with_the_weak_one():
    rng = random.Random(1)
    assert targets.ports("20-22,80") == [20, 21, 22, 80]
    assert targets.ports(443) == [443]
    for count in (5, 40, 90):
        assert len(set(targets.passwords(rng, count))) == count
        assert len(set(targets.paths(rng, count))) == count
    assert targets.passwords(rng, 30)[-1] == ACCOUNTS[WEAK]


# --- the days -------------------------------------------------------------------------------------------------


def attacks(day):
    return [activity for activity in day.activities if activity.label]


def variants(*days):
    return {(activity.label, activity.tool) for day in days for activity in attacks(day)}


def test_every_label_of_the_days_is_a_name_of_the_family_table_with_a_technique():
    families = load_families(REPOSITORY / "schema" / "families.yaml")
    for label, _tool in variants(*DAYS):
        assert families.canonical(label) == label
        assert families.technique(label).startswith("T1")


def test_the_test_day_has_attacks_and_tools_that_no_earlier_day_has_and_many_that_they_have():
    before, last = variants(*DAYS[:4]), variants(DAYS[4])
    known = {label for label, _tool in before}
    assert len({label for label, _tool in last} - known) >= 3
    assert len({label for label, tool in last - before if label in known}) >= 10
    assert len(last & before) >= 10


def test_every_attack_of_the_validation_day_occurs_in_training():
    trained = {label for label, _tool in variants(*DAYS[:3])}
    assert {label for label, _tool in variants(DAYS[3])} <= trained


def test_attackers_change_from_day_to_day_and_are_hosts_that_work_as_well():
    attackers = [{host for activity in attacks(day) for host in activity.on} for day in DAYS]
    assert Counter(host for hosts in attackers for host in hosts).most_common(1)[0][1] < len(DAYS)
    for day, hosts in zip(DAYS, attackers, strict=True):
        assert len(hosts) >= 4
        benign = {host for activity in day.activities if not activity.label for host in activity.on}
        assert hosts <= benign, day.name
