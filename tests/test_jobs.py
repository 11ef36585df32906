"""Long runs: real processes, real locks, real kills."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netwarden import jobs
from netwarden.errors import JobBusyError, NotFoundError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


SLEEP = python("import time; print('up', flush=True); time.sleep(60)")
REPORT = "from netwarden.jobs import report\n"


def until(condition, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def test_a_run_ends_with_its_progress_its_log_and_success(tmp_path: Path):
    code = REPORT + "report('fit', 'fitting', 0.5); print('hello'); report('fit', 'done', 1.0)"
    job = jobs.start(tmp_path, "train", python(code), tmp_path)
    outcome = job.wait(20)
    assert (outcome.state, outcome.exit_code, outcome.stage) == ("succeeded", 0, "fit")
    assert [(event.message, event.fraction) for event in job.progress()] == [("fitting", 0.5), ("done", 1.0)]
    assert job.log_tail() == ["hello"]


def test_a_failed_run_names_its_stage_and_the_error_it_reported(tmp_path: Path):
    code = REPORT + "report('fit', 'one class only', failed=True); report('fit', 'cleaning up'); raise SystemExit(3)"
    outcome = jobs.start(tmp_path, "train", python(code), tmp_path).wait(20)
    assert (outcome.state, outcome.stage, outcome.error, outcome.exit_code) == ("failed", "fit", "one class only", 3)


def test_a_failed_run_that_reported_nothing_shows_its_last_line(tmp_path: Path):
    outcome = jobs.start(tmp_path, "train", python("raise RuntimeError('disk full')"), tmp_path).wait(20)
    assert (outcome.state, outcome.error) == ("failed", "RuntimeError: disk full")


def test_a_command_that_does_not_exist_is_a_failed_run(tmp_path: Path):
    outcome = jobs.start(tmp_path, "train", ["no-such-program"], tmp_path).wait(20)
    assert (outcome.state, outcome.error) == ("failed", "cannot start no-such-program: No such file or directory")


def test_a_second_run_of_a_kind_is_refused_by_the_name_of_the_first(tmp_path: Path):
    first = jobs.start(tmp_path, "train", SLEEP, tmp_path)
    try:
        assert jobs.running(tmp_path, "train") == first
        with pytest.raises(JobBusyError, match=f"train run {first.id} is under way"):
            jobs.start(tmp_path, "train", SLEEP, tmp_path)
        jobs.start(tmp_path, "etl", python("pass"), tmp_path).wait(20)
    finally:
        first.cancel()
        first.wait(20)
    assert jobs.running(tmp_path, "train") is None
    assert jobs.start(tmp_path, "train", python("pass"), tmp_path).wait(20).state == "succeeded"


def test_of_many_starts_at_once_one_runs(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from netwarden import jobs\n"
        f"jobs.start(Path({str(tmp_path)!r}), 'train', {SLEEP!r}, Path({str(tmp_path)!r}))"
    )
    starters = [subprocess.Popen(python(code), stderr=subprocess.PIPE) for _ in range(6)]
    errors = [starter.communicate()[1].decode() for starter in starters]
    job = jobs.running(tmp_path, "train")
    assert job is not None
    job.cancel()
    job.wait(20)
    assert sum(starter.returncode == 0 for starter in starters) == 1
    assert sum("JobBusyError" in error for error in errors) == 5
    assert len(jobs.recent(tmp_path, "train")) == 1


def test_cancel_ends_the_command_and_what_it_started(tmp_path: Path):
    code = (
        f"import subprocess, sys; child = subprocess.Popen({SLEEP!r})\n"
        "open('child', 'w').write(str(child.pid)); child.wait()"
    )
    job = jobs.start(tmp_path, "train", python(code), tmp_path)
    until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    job.cancel()
    outcome = job.wait(20)
    assert (outcome.state, outcome.error) == ("cancelled", "cancelled")
    until(lambda: not alive(child))
    job.cancel()  # once more changes nothing
    assert job.state == "cancelled"


def test_a_run_survives_the_death_of_the_process_that_started_it(tmp_path: Path):
    wait_for_file = "import os, time\nwhile not os.path.exists('go'): time.sleep(.02)"
    code = (
        "import os; from pathlib import Path; from netwarden import jobs\n"
        f"here = Path({str(tmp_path)!r}); jobs.start(here, 'train', {python(wait_for_file)!r}, here)\n"
        "os.kill(os.getpid(), 9)"
    )
    starter = subprocess.run(python(code), check=False)
    assert starter.returncode == -signal.SIGKILL
    job = jobs.running(tmp_path, "train")
    assert job is not None
    assert job.state == "running"
    (tmp_path / "go").touch()
    assert job.wait(20).state == "succeeded"


def test_a_killed_supervisor_leaves_a_failed_run_once_its_command_has_ended(tmp_path: Path):
    job = jobs.start(tmp_path, "train", SLEEP, tmp_path)
    until(lambda: (job.folder / "group").exists() and (job.folder / "group").read_text())
    group = int((job.folder / "group").read_text())
    supervisor = int(Path(f"/proc/{group}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(supervisor))
    assert job.state == "running"  # its command still is
    job.cancel()
    outcome = job.wait(20)
    assert (outcome.state, outcome.error) == ("failed", "ended without a result: it was killed")
    assert jobs.running(tmp_path, "train") is None


def test_the_environment_given_reaches_the_command_and_is_never_written_down(tmp_path: Path):
    job = jobs.start(tmp_path, "train", python("import os; print(os.environ['A'])"), tmp_path, {"A": "hunter2"})
    assert job.wait(20).state == "succeeded"
    assert job.log_tail() == ["hunter2"]
    assert "hunter2" not in (job.folder / "job.json").read_text()


def test_reports_outside_a_run_go_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(jobs.PROGRESS_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    jobs.report("fit", "fitting", 0.5)
    assert not list(tmp_path.iterdir())


def test_only_the_last_runs_are_kept(tmp_path: Path):
    for number in range(25):
        folder = tmp_path / "jobs" / "train" / f"20200101-0000{number:02}-aaaa"
        folder.mkdir(parents=True)
        (folder / "job.json").write_text('{"started_at": ""}')
    newest = jobs.start(tmp_path, "train", python("pass"), tmp_path)
    assert newest.wait(20).state == "succeeded"
    kept = jobs.recent(tmp_path, "train", 100)
    assert len(kept) == 20
    assert kept[0] == newest


@pytest.mark.parametrize("name", ["20200101-000000-aaaa", "../train", ""])
def test_a_run_that_is_not_there_is_not_found(tmp_path: Path, name: str):
    with pytest.raises(NotFoundError, match="no train run"):
        jobs.find(tmp_path, "train", name)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
