"""Parameters of a detector kind that catch attacks which training has not seen, sought by Optuna.

A trial fits the detector on the training rows with a group of attack names held out, one group after the other, and is
given up half-way where it does worse than most. Each study is a SQLite file under `NETWARDEN_HOME/tuning`, and goes on
where it was stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import TrialState
from sqlalchemy.exc import DBAPIError

from netwarden.detector_params import Choice, Range
from netwarden.errors import ConfigError, JobBusyError, TrainingError
from netwarden.params import Params
from netwarden.settings import Settings
from netwarden.sources.stored import read_stored
from netwarden.training.candidate import Candidate
from netwarden.training.selection import Caught, catch, objective_value
from netwarden.training.tuned import Task, Trial, Tuned, Value, task_of

Say = Callable[[str, bool], None]  # what happens, and whether the next line may take its place

_STUDY = "netwarden"  # the one study of a file
_FACTS, _FIGURES, _WHY = "facts", "figures", "why"
_TRIALS_BEFORE_PRUNING = 4
_NAME = re.compile(r"[\w.-]*")
_DIGITS = 3  # significant ones of a tuned number: what more of them say is noise


@dataclass(frozen=True)
class Effort:
    """How long to try: new trials begin until either is used up. `jobs`: trials at a time."""

    trials: int | None = None
    minutes: float | None = 30
    jobs: int = 1


def tune_dataset(
    settings: Settings,
    candidate: Candidate,
    effort: Effort,
    seeds: Sequence[int],
    study: str,
    say: Say,
    stop: threading.Event,
) -> Tuned:
    """`tune` on a dataset of the store.

    Where `study` is empty, dataset, detector and any other file of parameters than params.json name it.
    """
    params, name = candidate.chosen(settings)
    if not _NAME.fullmatch(study):
        raise ConfigError(f"--study names a file, of letters, digits, `.`, `_` and `-`; {study!r} is none")
    table, schema = read_stored(settings, name)
    other = candidate.other_file(settings)
    named = [name, params.train.detector, *([other.stem] if other else [])]
    path = settings.home / "tuning" / f"{study or '-'.join(named)}.sqlite"
    return tune(task_of(params, name, table, schema, seeds), path, effort, say, stop)


def tune(task: Task, path: Path, effort: Effort, say: Say, stop: threading.Event) -> Tuned:
    """The study in a file, begun or gone on with. `stop`, once set, ends it between two fits and keeps what is done.

    Raises ConfigError where the file holds a study of something else, JobBusyError where another process is at it,
    TrainingError where no values let the detector be fitted.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _alone(path), _opened(path, task) as study:
        _begin(study, task)
        if effort.trials != 0:
            _Run(task, effort, say, stop).go_on(study)
        return _tuned(study, path, task)


# --- the file ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else works on the study while the block runs, so a trial that seems under way was cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JobBusyError(f"another `netwarden tune` works on {path}; --study names another study") from None
        yield


@contextlib.contextmanager
def _opened(path: Path, task: Task) -> Iterator[optuna.Study]:
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        pruner = optuna.pruners.MedianPruner(n_startup_trials=_TRIALS_BEFORE_PRUNING)
        study = optuna.create_study(
            storage=storage,
            pruner=pruner,
            study_name=_STUDY,
            direction="maximize",
            load_if_exists=True,
        )
    except DBAPIError as error:
        raise ConfigError(f"{path} is no study that can be read ({error.orig}); remove it to begin anew") from None
    try:
        known = study.user_attrs.get(_FACTS)
        if known is None:
            study.set_user_attr(_FACTS, task.facts)
        elif known != task.facts:
            raise ConfigError(f"{path} holds {_another(known, task.facts)}; --study names another study to begin")
        # A run that goes on draws other values than the first one did, and the same when both are repeated.
        study.sampler = optuna.samplers.TPESampler(seed=len(study.get_trials(deepcopy=False)))
        yield study
    finally:
        storage.engine.dispose()


def _another(known: dict[str, str], facts: dict[str, str]) -> str:
    """What the study in the file is about, where that is something else."""
    differing = [name for name in {**facts, **known} if known.get(name) != facts.get(name)]
    told = [f"{name} {known.get(name, 'not set')} instead of {facts.get(name, 'not set')}" for name in differing[:3]]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return f"another study: {', '.join(told)}{more}"


def _begin(study: optuna.Study, task: Task) -> None:
    """Trials to do first: those cut short, and in a new study the parameters as they are."""
    trials = study.get_trials(deepcopy=False)
    if not trials:
        study.enqueue_trial({path: value for path, value in task.present.items() if _within(task.space[path], value)})
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)


# --- trials -----------------------------------------------------------------------------------------------------


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A trial ends because the run does."""


@dataclass(frozen=True)
class _Run:
    task: Task
    effort: Effort
    say: Say
    stop: threading.Event

    def go_on(self, study: optuna.Study) -> None:
        """New trials until the effort is used up or somebody stops it."""
        begun = time.monotonic()
        study.optimize(
            lambda trial: self._try(study, trial),
            n_trials=self.effort.trials,
            timeout=None if self.effort.minutes is None else self.effort.minutes * 60,
            n_jobs=self.effort.jobs,
            catch=(TrainingError, _Stopped),
            callbacks=[lambda _, trial: self.say(_line(study, trial, time.monotonic() - begun), False)],
        )

    def _try(self, study: optuna.Study, trial: optuna.Trial) -> float:
        """Recall of attack names held out, over all rounds; fewer where it does worse than most trials did by then."""
        values = {path: _suggested(trial, path, where) for path, where in self.task.space.items()}
        params = self._with_threads(self.task.with_values(values))
        rounds = len(self.task.held_out.rounds)
        done: list[Caught] = []
        for at in range(rounds):
            self._end_if_stopped(study, trial)
            self.say(f"trial {trial.number}: round {at + 1} of {rounds}", True)
            try:
                done.append(catch(self.task.held_out, at, params))
            except TrainingError as error:
                trial.set_user_attr(_WHY, str(error))
                raise
            trial.report(objective_value(done), at)
            if at + 1 < rounds and trial.should_prune():
                trial.set_user_attr(_FIGURES, _figures(done))
                raise optuna.TrialPruned
        trial.set_user_attr(_FIGURES, _figures(done))
        return objective_value(done)

    def _with_threads(self, params: Params) -> Params:
        cores = params.train.threads or os.cpu_count() or 1
        threads = max(1, cores // self.effort.jobs)
        return params.model_copy(update={"train": params.train.model_copy(update={"threads": threads})})

    def _end_if_stopped(self, study: optuna.Study, trial: optuna.Trial) -> None:
        if self.stop.is_set():
            study.enqueue_trial(trial.params)  # first of all when the study goes on
            study.stop()
            raise _Stopped


def _suggested(trial: optuna.Trial, path: str, where: Range | Choice) -> Value:
    if isinstance(where, Choice):
        chosen: Value = trial.suggest_categorical(path, list(where.values))
        return chosen
    if isinstance(where.least, int) and isinstance(where.most, int):
        return trial.suggest_int(path, where.least, where.most, log=where.log)
    return _rounded(trial.suggest_float(path, where.least, where.most, log=where.log))


def _rounded(value: Value) -> Value:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _within(where: Range | Choice, value: Value) -> bool:
    if isinstance(where, Choice):
        return value in where.values
    return isinstance(value, int | float) and where.least <= value <= where.most


def _figures(done: Sequence[Caught]) -> dict[str, float]:
    """What else is worth knowing of a trial: means over its rounds."""
    seen = [each.seen for each in done if each.seen is not None]
    figures = {"rounds": float(len(done)), "false_positive_rate": sum(each.benign for each in done) / len(done)}
    return figures | ({"seen_recall": sum(seen) / len(seen)} if seen else {})


# --- what came of it --------------------------------------------------------------------------------------------


def _line(study: optuna.Study, trial: optuna.trial.FrozenTrial, seconds: float) -> str:
    """One trial that has ended, and the best so far."""
    ended = {
        TrialState.COMPLETE: f"unseen recall {trial.value or 0:.4f}",
        TrialState.PRUNED: "given up, worse than most",
    }.get(trial.state, f"failed: {trial.user_attrs.get(_WHY, 'stopped')}")
    finished = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    best = max(finished, key=lambda each: each.value or 0.0, default=None)
    so_far = "" if best is None else f"; best {best.value or 0:.4f}, trial {best.number}"
    return f"trial {trial.number}: {ended}{so_far}; {len(finished)} finished; {seconds / 60:.1f} min"


def _tuned(study: optuna.Study, path: Path, task: Task) -> Tuned:
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    failed = tuple(trial.user_attrs[_WHY] for trial in trials if _WHY in trial.user_attrs)
    if failed and not any(trial.state == TrialState.COMPLETE for trial in ended):
        raise TrainingError(f"no trial of {path} came to its end: {failed[-1]}")
    return Tuned(path, task, tuple(_trial(each) for each in ended), failed)


def _trial(trial: optuna.trial.FrozenTrial) -> Trial:
    started, ended = trial.datetime_start, trial.datetime_complete
    return Trial(
        trial.number,
        {path: _rounded(value) for path, value in trial.params.items()},
        trial.value if trial.state == TrialState.COMPLETE else None,
        dict(trial.user_attrs.get(_FIGURES, {})),
        round(started.timestamp() * 1000) if started else 0,
        round(ended.timestamp() * 1000) if ended else 0,
    )
