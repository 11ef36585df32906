"""`netwarden sensor | worker | up | dead-letters` as people type them."""

import re
from contextlib import closing

import pytest
from typer.testing import CliRunner

from netwarden import cli
from netwarden.errors import ConfigError, InputError
from netwarden.settings import load_settings
from netwarden.sources.connect import open_alert_store, open_queue
from netwarden.streaming.batch import pack
from tests.deploy.product import parse_command
from tests.fixtures.data import ROOT
from tests.streaming.conftest import batch_of, expected_alerts, stored_alerts
from tests.streaming.faults import workspace


@pytest.fixture
def run(deployment, monkeypatch, tmp_path):
    """Runs a command in the deployment, on ports that nobody else has; errors of ours are raised."""
    workspace(tmp_path / "work", "sensor_port: 0, worker_port: 0")
    monkeypatch.setenv("NETWARDEN_HOME", str(deployment.settings.home))
    monkeypatch.setenv("NETWARDEN_WORKSPACE", str(tmp_path / "work"))
    monkeypatch.delenv("REDIS_URL", raising=False)

    def command(*words: str) -> str:
        result = CliRunner().invoke(cli.app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return command


def test_up_replays_a_dataset_and_ends_when_all_is_stored(run, deployment):
    assert run("up", "--replay", "made_up", "--rate", "0", "--no-portal") == "1,500 flows sent\n"
    with closing(open_alert_store(deployment.settings)) as store:
        assert stored_alerts(store) == expected_alerts(deployment.flows, deployment.bundle)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up",), "give one source of flows: captures, --interface or --replay"),
        (("up", "a.pcap", "--replay", "made_up"), "give one source of flows"),
        (("up", "a.pcap", "--mode", "corect"), "flow semantics 'corect' are not known; there are: corrected, cicflow"),
        (("worker",), "a worker of its own needs REDIS_URL"),
        (("sensor", "--replay", "made_up"), "a sensor of its own needs REDIS_URL"),
        (("dead-letters", "list"), "dead letters outlive their process in Redis only; set REDIS_URL"),
        (("dead-letters", "redrive"), "give either ids of dead letters or --all"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(run, words, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        run(*words)


def test_a_capture_that_is_not_there_is_named(run):
    with pytest.raises(InputError, match=r"nowhere\.pcap"):
        run("up", "nowhere.pcap", "--no-portal")


def test_dead_letters_are_listed_with_what_they_hold_and_put_back(run, named_flows, redis_url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    with closing(open_queue(load_settings())) as queue:
        assert run("dead-letters", "list") == "no dead letters\n"
        for body in (pack(batch_of(named_flows.slice(0, 7))), b"nonsense"):
            queue.publish(body)
            queue.dead_letter(queue.read("w", 1, 0)[0], "no detector")
        listed = run("dead-letters", "list").splitlines()
        assert [line.split("  ", 1)[1] for line in listed] == [
            "7 flows of nsl_kdd from test (replay)  no detector",
            "8 bytes  no detector",
        ]
        first = listed[0].split()[0]
        assert run("dead-letters", "redrive", first, "9-9") == ("1 put back into the queue; 1 were no longer there\n")
        assert run("dead-letters", "redrive", "--all") == "1 put back into the queue\n"
        assert queue.depth() == 2


@pytest.mark.parametrize("page", ["streaming.md", "migrating.md"])
def test_every_command_in_the_guides_is_taken_with_its_options(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"`(netwarden [^`\n]+)`", text) + re.findall(r"^(netwarden [^#\n]+)", blocks, re.MULTILINE)
    whole = [command for command in commands if " -" in command]  # others only name a command: tests/test_docs.py
    assert len(whole) > 5
    for command in whole:
        words = command.split()
        if words[1] == "meter" and words[2] != "extract":
            words.insert(2, "run")  # which may be left out
        parse_command(words)
