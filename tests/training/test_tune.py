"""Tuning catches more of the attacks held out, goes on where it was stopped, and never sees a test row."""

import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest

from netwarden.detector_params import DecisionTreeParams, StackingParams, XgbClassifierParams, search_space
from netwarden.detectors.kinds import KINDS
from netwarden.errors import ConfigError, DataCheckError, JobBusyError, TrainingError
from netwarden.evaluation.split import assign_parts
from netwarden.flows.schema import SplitPolicy
from netwarden.params import Params, ResampleParams, TrainParams
from netwarden.training.selection import catch, hold_out_types, objective_value
from netwarden.training.tune import Effort, tune
from netwarden.training.tuned import task_of
from tests.fixtures.toy import make_schema, make_table, with_column

HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""
PARAMS = Params(
    train=TrainParams(
        threads=1, detector="decision_tree", false_positive_budget=0.05, resample=ResampleParams(method="none")
    ),
    decision_tree=DecisionTreeParams(max_depth=6, min_samples_leaf=20),
    xgb_classifier=XgbClassifierParams(n_estimators=5),
)


@pytest.fixture(scope="module")
def flows():
    """Flows in which the rate tells most attacks, three names of them common."""
    made = make_table(3000, seed=5)
    attack = np.array(made.arrow["label"].to_pylist()) != "benign"
    return with_column(made, "rate", np.random.default_rng(1).normal(size=len(made)) + 3 * attack)


@pytest.fixture
def task(flows):
    return task_of(PARAMS, "toys", flows, make_schema(), seeds=(1,))


def run(task, path, trials, said=None, stop=None, jobs=1):
    lines = [] if said is None else said
    return tune(
        task,
        path,
        Effort(trials=trials, minutes=None, jobs=jobs),
        lambda text, passing: None if passing else lines.append(text),
        stop or threading.Event(),
    )


def test_every_kind_says_where_to_look_and_finds_its_own_parameters_there():
    for kind in KINDS.values():
        section = getattr(Params(), kind.section)
        space = search_space(type(section))
        assert space, kind.name
        dumped = section.model_dump()
        for path in space:
            place = dumped
            for name in path.split("."):
                place = place[name]  # a KeyError names what is not there
    assert "random_forest.max_depth" in search_space(StackingParams)


def test_the_first_trial_is_of_the_present_parameters_and_the_best_is_the_best(task, tmp_path):
    said: list[str] = []
    tuned = run(task, tmp_path / "study.sqlite", 4, said)
    assert tuned.trials[0].values == {"max_depth": 6, "min_samples_leaf": 20}
    assert tuned.best is not None and tuned.best.value == max(trial.value or 0 for trial in tuned.finished)
    expected = objective_value([catch(task.held_out, at, PARAMS) for at in range(len(task.held_out.rounds))])
    assert tuned.trials[0].value == pytest.approx(expected)
    assert len(said) == 4 and said[-1].startswith("trial 3: ")
    assert f"decision_tree.min_samples_leaf = {tuned.best.values['min_samples_leaf']}" in tuned.describe()


def test_a_study_goes_on_where_it_was(task, tmp_path):
    path = tmp_path / "study.sqlite"
    first = run(task, path, 2)
    second = run(task, path, 2, jobs=2)
    assert len(second.trials) == 4 and second.trials[:2] == first.trials
    assert run(task, path, 0).trials == second.trials


def test_what_a_stop_cuts_short_is_tried_again_first(task, tmp_path):
    path, stop = tmp_path / "study.sqlite", threading.Event()
    run(task, path, 1)
    stop.set()
    stopped = run(task, path, 5, stop=stop)
    assert len(stopped.trials) == 1
    with sqlite3.connect(path) as study:
        (cut,) = study.execute("SELECT param_value FROM trial_params WHERE trial_id = 2 AND param_name LIKE 'min%'")
    resumed = run(task, path, 1)
    assert len(resumed.trials) == 2 and resumed.trials[-1].values["min_samples_leaf"] == cut[0]


def test_a_killed_run_leaves_a_study_that_goes_on(task, tmp_path):
    path = tmp_path / "study.sqlite"
    run(task, path, 1)
    with sqlite3.connect(path) as study:  # what kill -9 leaves behind: a trial under way, for ever
        study.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL")
        study.execute("DELETE FROM trial_values")
    resumed = run(task, path, 1)
    assert [trial.values for trial in resumed.trials] == [{"max_depth": 6, "min_samples_leaf": 20}]


def test_two_runs_of_one_study_at_a_time_are_refused(task, tmp_path):
    path = tmp_path / "study.sqlite"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path.with_suffix(".lock")], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout and other.stdout.readline() == b"held\n"
            with pytest.raises(JobBusyError, match="another `netwarden tune` works on"):
                run(task, path, 1)
        finally:
            other.kill()


def test_a_study_of_something_else_is_refused_by_what_differs(task, flows, tmp_path):
    path = tmp_path / "study.sqlite"
    run(task, path, 1)
    trees = Params(train=TrainParams(detector="boosted_trees"))
    with pytest.raises(ConfigError, match="another study: detector decision_tree instead of boosted_trees"):
        run(task_of(trees, "toys", flows, make_schema(), (1,)), path, 1)
    fewer = with_column(flows, "split", ["test" if row < 900 else "train" for row in range(len(flows))])
    with pytest.raises(ConfigError, match=r"another study: training rows \w+ instead of \w+; --study names another"):
        run(task_of(PARAMS, "toys", fewer, make_schema(), (1,)), path, 1)


def test_values_that_no_detector_can_be_fitted_with_are_told(flows, tmp_path):
    blank = flows
    for name, value in (("rate", 1.0), ("bytes", 1), ("service", "http")):
        blank = with_column(blank, name, [value] * len(flows))
    with pytest.raises(TrainingError, match=r"no trial of .*study\.sqlite came to its end: "):
        run(task_of(PARAMS, "toys", blank, make_schema(), (1,)), tmp_path / "study.sqlite", 2)


def test_a_file_that_is_no_study_is_refused(task, tmp_path):
    path = tmp_path / "study.sqlite"
    path.write_bytes(b"not a database, and longer than its header would be" * 40)
    with pytest.raises(ConfigError, match="no study that can be read"):
        run(task, path, 1)


def test_a_kind_without_ranges_is_refused(flows, monkeypatch):
    monkeypatch.setattr("netwarden.training.tuned.search_space", lambda _: {})
    with pytest.raises(ConfigError, match="decision_tree has nothing to tune"):
        task_of(PARAMS, "toys", flows, make_schema(), (1,))


def test_one_attack_name_cannot_be_held_out(flows):
    one = ["neptune" if label != "benign" else label for label in flows.arrow["label"].to_pylist()]
    with pytest.raises(DataCheckError, match="no two attack names with 20 rows each"):
        hold_out_types(with_column(flows, "label", one), make_schema(), PARAMS, (1,))


def test_test_rows_have_no_part_in_the_objective(flows):
    """Whatever stands in the test rows, features and labels, every trial's figure is the same."""
    tests = np.array(flows.arrow["split"].to_pylist()) == "test"
    rng, changed = np.random.default_rng(0), flows
    for name in ("label", "family", "rate", "bytes", "service"):
        values = np.array(flows.arrow[name].to_pylist(), dtype=object)
        values[tests] = rng.permutation(values[tests])
        changed = with_column(changed, name, values.tolist())
    assert caught_of(changed, make_schema()) == caught_of(flows, make_schema())


def test_no_seed_draws_from_the_rows_that_the_pipeline_tests(flows):
    drawn = make_schema().model_copy(update={"split": SplitPolicy(policy="grouped_random")})
    tests = assign_parts(flows, drawn, PARAMS.transform) == "test"
    held_out = hold_out_types(flows, drawn, PARAMS, seeds=(1, 2))
    used = set(held_out.table.arrow["row_id"].to_pylist())
    assert used == set(flows.arrow.filter(~tests)["row_id"].to_pylist())


def caught_of(flows, schema):
    held_out = hold_out_types(flows, schema, PARAMS, seeds=(1, 2))
    return [catch(held_out, at, PARAMS) for at in range(len(held_out.rounds))]
