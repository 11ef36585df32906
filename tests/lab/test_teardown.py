"""Whatever ends a run, nothing of it stays: no namespace, no process, no file, no half of a recording."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwarden.errors import LabError
from netwarden.lab.drafts import passing_folder, remove_passing
from netwarden.lab.network import clean
from netwarden.lab.play import RUNS
from netwarden.lab.runner import play
from netwarden.lab.scenario import load_scenario

FAMILIES = Path(__file__).parents[2] / "schema" / "families.yaml"
REFUSALS = {  # what a user without rights is told
    "try lab/scenarios/smoke.yaml": "the lab needs network namespaces of its own; this process lacks root",
    "record lab/scenarios/smoke.yaml -o x": "the lab needs network namespaces of its own; this process lacks root",
    "clean": "namespaces, and processes in them, are root's to remove; run it by sudo",
}
METERED_S = 200  # its kernels may have to be compiled first


# what `netwarden lab record` does, without compiling the meter first
RECORD = """
import sys
from pathlib import Path
from netwarden.flows.labels import load_families
from netwarden.lab.record import record
from netwarden.lab.scenario import load_scenario

def say(text):
    print(text, file=sys.stderr, flush=True)

scenario, folder, families = map(Path, sys.argv[1:])
record(load_scenario(scenario), folder, load_families(families), say)
"""


class Recorder:
    """A recording under way in a process of its own, and the id of its run."""

    def __init__(self, scenario: Path, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", RECORD, str(scenario), str(folder), str(FAMILIES)],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.run = ""

    def wait_for(self, words: str) -> None:
        """Until it says so."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.match(r"run (\w+):", line):
                self.run = found[1]
            if words in line:
                return
        pytest.fail(f"the recorder never said {words!r}")

    def end(self, number: int, *, times: int = 1) -> int:
        """Send a signal, or several in a row; the exit code."""
        for _ in range(times):
            self.process.send_signal(number)
            time.sleep(0.05)
        _, _ = self.process.communicate(timeout=60)
        return self.process.returncode


def left_of(run: str) -> list[str]:
    """All that is there of a run: namespaces, files, processes."""
    left = [str(path) for folder in ("/run/netns", "/etc/netns") for path in Path(folder).glob(f"nwlab-{run}-*")]
    if (RUNS / run).exists():
        left.append(str(RUNS / run))
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if run in command:
            left.append(command)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorder_that_is_told_to_stop_leaves_nothing(laboratory, small_scenario, tmp_path, number):
    recorder = Recorder(small_scenario(60), tmp_path / "recording")
    recorder.wait_for("the scenario begins")
    time.sleep(1.0)
    assert recorder.end(number, times=2) != 0  # whoever presses Ctrl-C twice does not stop the cleaning
    assert left_of(recorder.run) == []
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_killed_recorder_is_cleaned_up_by_the_next_one_which_works(laboratory, small_scenario, tmp_path):
    killed = Recorder(small_scenario(60), tmp_path / "recording")
    killed.wait_for("the scenario begins")
    time.sleep(1.0)
    killed.end(signal.SIGKILL)
    assert left_of(killed.run) != []
    following = Recorder(small_scenario(2), tmp_path / "recording")
    following.wait_for("the scenario begins")
    assert left_of(killed.run) == []
    following.process.communicate(timeout=METERED_S)
    assert following.process.returncode == 0
    assert left_of(following.run) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recording", "small.yaml"]
    summary = json.loads((tmp_path / "recording" / "summary.json").read_text())
    assert summary["activities"]["pings@a"]["flows"] == 1


def test_cleaning_leaves_runs_under_way_alone(laboratory, small_scenario, tmp_path):
    recorder = Recorder(small_scenario(60), tmp_path / "recording")
    recorder.wait_for("the scenario begins")
    clean()
    assert recorder.process.poll() is None
    assert left_of(recorder.run) != []
    recorder.end(signal.SIGTERM)


def test_cleaning_removes_the_passing_folders_of_killed_processes_only(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f"netwarden-lab-{ended.pid}-abcd"
    (left / "recording").mkdir(parents=True)
    with passing_folder() as kept:
        assert remove_passing() == [str(left)]
        assert [path.name for path in tmp_path.iterdir()] == [kept.parent.name]
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_fails_ends_the_run_with_its_last_words(laboratory, small_scenario, tmp_path):
    scenario = load_scenario(small_scenario(2, service="datagrams"))
    broken = scenario.hosts["b"].services[0].model_copy(update={"options": {"replies": "never heard of"}})
    hosts = {**scenario.hosts, "b": scenario.hosts["b"].model_copy(update={"services": (broken,)})}
    said: list[str] = []
    with pytest.raises(LabError, match=r"service:datagrams:7@b did not start: .*never heard of"):
        play(scenario.model_copy(update={"hosts": hosts}), tmp_path, said.append)
    assert left_of(said[0].split()[1].rstrip(":")) == []


def test_without_root_the_refusal_says_what_is_missing(small_scenario, tmp_path):
    command = [sys.executable, "-m", "netwarden.lab.clients.ping_hosts", '{"no": "part"}']
    alone = subprocess.run(command, check=False, capture_output=True, text=True)
    assert alone.returncode == 1
    assert "`netwarden lab record SCENARIO` starts it" in alone.stderr
    if os.geteuid() == 0:
        for words, message in REFUSALS.items():
            netwarden = Path(sys.prefix) / "bin" / "netwarden"
            as_nobody = ["setpriv", "--reuid", "65534", "--clear-groups", str(netwarden), "lab"]
            refused = subprocess.run([*as_nobody, *words.split()], check=False, capture_output=True, text=True)
            assert refused.returncode == 1
            assert refused.stderr.startswith(f"LabError: {message}"), refused.stderr


def test_a_program_refuses_to_run_outside_a_namespace_of_the_lab(tmp_path):
    part = {
        "run": "aaaaaa", "name": "pings@a", "host": "a", "address": "10.77.0.1", "hosts": {"a": "10.77.0.1"},
        "options": {}, "seed": 1, "ends_at": time.time() + 5, "folder": str(tmp_path),
    }  # fmt: skip
    command = [sys.executable, "-m", "netwarden.lab.clients.ping_hosts", json.dumps(part)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pings@a runs outside a namespace of the lab" in done.stderr
