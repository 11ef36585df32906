"""Scenarios: what they may say, what they include, and how a fault is told."""

import re
import textwrap

import pytest

from netwarden.errors import ConfigError, LabError
from netwarden.lab.programs import programs, require_options
from netwarden.lab.record import only
from netwarden.lab.runner import roles_of
from netwarden.lab.scenario import load_scenario
from tests.fixtures.data import ROOT

BASE = """\
name: base
seed: 3
starts: 2026-03-02T08:00:00Z
length_s: 10
links: {near: {delay_ms: 1, loss: 0.1}}
hosts:
  a: {zone: near, address: 10.77.0.1}
  b: {zone: near, address: 10.77.0.2, link: {delay_ms: 5}, services: [{program: datagrams, port: 7, with: {size: 3}}]}
activities:
  - {id: pings, program: ping_hosts, on: a, until_s: 10, with: {to: b}}
  - {id: probes, program: ping_hosts, on: [a, b], from_s: 2, until_s: 4, label: ipsweep, tool: ping}
"""


@pytest.fixture
def scenario(tmp_path):
    """Writes BASE with some text replaced, or another text, and loads it."""

    def load(old: str = "", new: str = "", *, text: str = BASE):
        path = tmp_path / "scenario.yaml"
        path.write_text(text.replace(old, new) if old else text)
        return load_scenario(path)

    return load


def test_a_host_has_its_zones_link_with_its_own_values_on_top(scenario):
    loaded = scenario()
    assert (loaded.link_of("a").delay_ms, loaded.link_of("b").delay_ms) == (1, 5)
    assert loaded.link_of("b").loss == 0.1
    assert loaded.hosts["b"].services[0].options == {"size": 3}


def test_an_activity_plays_a_role_of_its_own_on_each_of_its_hosts(scenario):
    roles = roles_of(scenario())
    assert [role.name for role in roles] == ["pings@a", "probes@a", "probes@b"]
    assert len({role.user for role in roles}) == 3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 3", "sead: 3", "unknown key 'sead'"),
        ("zone: near, address: 10.77.0.1", "zone: far, address: 10.77.0.1", "'a' lies in zone 'far', for which links"),
        ("10.77.0.2", "10.77.0.1", "two hosts have the same address"),
        ("10.77.0.2", "8.8.8.8", "'b' has the address 8.8.8.8, which is not private"),
        ("id: probes", "id: pings", "two activities have the id 'pings'"),
        ("on: [a, b]", "on: [a, c]", "'probes' names the host 'c', which the scenario does not have"),
        ("until_s: 4", "until_s: 40", "'probes' ends at 40 s, the scenario at 10 s"),
        ("until_s: 4", "until_s: 1", "'probes' ends (until_s) before it starts"),
        ("loss: 0.1", "loss: 1.5", "links.near.loss: Input should be less than 1"),
        ("link: {delay_ms: 5}", "link: {delay: 5}", "host 'b', link: unknown key 'delay'"),
        ("link: {delay_ms: 5}", "link: {loss: 2}", "host 'b', link: loss: Input should be less than 1"),
        ("port: 7, ", "", "hosts.b.services.0.port: Field required"),
        ("services: [", "services: [{program: key_store, port: 7}, ", "host 'b' has two services at port 7"),
        ("with: {to: b}", "with: {to: [b, c]}", "'pings' names the host 'c', which the scenario does not have"),
        ("length_s: 10", "length_s: 99999", "length_s: Input should be less than or equal to 14400"),
    ],
)
def test_a_fault_is_told_with_its_place(scenario, old, new, message):
    with pytest.raises(ConfigError) as told:
        scenario(old, new)
    assert message in str(told.value)
    assert "scenario.yaml" in str(told.value)


def test_included_files_lie_below_and_activities_merge_by_id(scenario, tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    over = """\
        include: base.yaml
        name: over
        links: {near: {loss: 0}}
        activities:
          - {id: probes, until_s: 3}
          - {id: more, program: ping_hosts, on: b, until_s: 9}
    """
    loaded = scenario(text=textwrap.dedent(over))
    assert loaded.name == "over"
    assert (loaded.links["near"].delay_ms, loaded.links["near"].loss) == (1, 0)
    assert [activity.id for activity in loaded.activities] == ["pings", "probes", "more"]
    assert (loaded.activities[1].until_s, loaded.activities[1].label) == (3, "ipsweep")


def test_what_is_no_scenario_is_refused(scenario, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml is missing; scenarios lie in lab/scenarios"):
        load_scenario(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="holds no mapping"):
        scenario(text="- a list")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        scenario(text="a: [")
    with pytest.raises(ConfigError, match="includes itself"):
        scenario(text="include: scenario.yaml")


def test_a_part_of_a_scenario_can_be_tried_at_once(scenario):
    tried = only(scenario(), ["probes"], 3)
    assert [(activity.id, activity.from_s, activity.until_s) for activity in tried.activities] == [("probes", 0, 3)]
    with pytest.raises(ConfigError, match="base has no activity 'scan'; it has pings, probes"):
        only(scenario(), ["scan"])
    with pytest.raises(ConfigError, match="cannot last -3 s, but at most 14400 s"):
        only(scenario(), [], -3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("with: {to: b}", "with: {too: b}", r"'pings': the program ping_hosts has no option 'too'; it has .*\bto\b"),
        ("with: {size: 3}", "with: {bytes: 3}", r"'b': the program datagrams has no option 'bytes'; it has replies, s"),
    ],
)
def test_an_option_that_a_program_does_not_have_is_refused_before_anything_starts(scenario, old, new, message):
    misspelled = scenario(old, new)
    with pytest.raises(LabError, match=message):
        require_options(misspelled, programs(misspelled))


def test_every_option_of_the_shipped_scenarios_is_explained_by_its_program():
    shipped = sorted((ROOT / "lab" / "scenarios").glob("*.yaml"))
    assert len(shipped) == 6
    for path in shipped:
        loaded = load_scenario(path)
        require_options(loaded, programs(loaded))


def test_the_scenarios_of_the_guide_can_be_played(scenario, tmp_path):
    (tmp_path / "benign").symlink_to(ROOT / "lab" / "scenarios" / "benign")
    guide = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    texts = re.findall(r"```yaml\n(.*?)```", guide, re.S)
    assert len(texts) == 2
    for text in texts:
        loaded = scenario(text=text)
        require_options(loaded, programs(loaded))
    asked = re.search(r"lab try (lab/scenarios/day-1\.yaml) --only (\S+)", guide)
    assert asked and only(load_scenario(ROOT / asked[1]), asked[2].split(","), 20).length_s == 20
