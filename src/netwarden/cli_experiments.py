"""Commands that fit detectors to learn something about them. Heavy imports wait until they run."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from netwarden import logs
from netwarden.settings import Settings, load_settings

if TYPE_CHECKING:
    from netwarden.training.tuned import Tuned

_ParamsFile = Annotated[
    Path | None,
    typer.Option(
        "--params",
        help="Parameters, dataset and detector from this file; default: params.json",
        exists=True,
        dir_okay=False,
    ),
]


def experiments(
    protocol: Annotated[
        str,
        typer.Argument(
            help="official, temporal, leave-family-out, leave-attack-out, leave-types-out, leave-tool-out, random or "
            "cross-dataset"
        ),
    ],
    dataset: Annotated[str, typer.Option(help="Dataset in the store; default: the pipeline's")] = "",
    detector: Annotated[str, typer.Option(help="Detector kind; default: the pipeline's")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Fits of every model, seeded 1 and up")] = 5,
    budget: Annotated[float, typer.Option(help="Of the columns that name none: 0.001, 0.01 or 0.05")] = 0.01,
    judged_by: Annotated[str, typer.Option(help="cross-dataset: the dataset in the store that judges")] = "",
    params: _ParamsFile = None,
) -> None:
    """Fit a detector and trivial models anew over several seeds, judge them by a protocol, print one table."""
    from netwarden.evaluation.crossing import CROSS
    from netwarden.evaluation.protocols import protocol_of
    from netwarden.training.candidate import Candidate
    from netwarden.training.experiment_table import experiment_table
    from netwarden.training.experiments import BUDGETS
    from netwarden.training.judging import judge_across, judge_at_random, judge_dataset

    if budget not in BUDGETS:
        raise typer.BadParameter(f"--budget is one of {', '.join(f'{each:g}' for each in BUDGETS)}")
    if (protocol == CROSS) != bool(judged_by):
        raise typer.BadParameter(f"--judged-by names the second dataset of {CROSS}, and of no other protocol")
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    candidate = Candidate(dataset, detector, params)
    if protocol == CROSS:
        carried_out, results = judge_across(settings, candidate, judged_by, seeds, _say)
    else:
        carried_out, results = protocol_of(protocol), judge_dataset(settings, protocol, candidate, seeds, _say)
    if protocol != "random":
        results += judge_at_random(settings, candidate, seeds, _say)
    print(experiment_table(carried_out, results, budget, seeds))


def resampling(
    dataset: Annotated[str, typer.Option(help="Dataset in the store; default: the pipeline's")] = "",
    detector: Annotated[str, typer.Option(help="Detector kind; default: the pipeline's")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Divisions of the training rows, seeded 1 and up")] = 5,
    budget: Annotated[float, typer.Option(help="Share of benign flows that may alert", min=0, max=1)] = 0.01,
    params: _ParamsFile = None,
) -> None:
    """Show what none, class weights, SMOTE and SMOTENC are worth to a detector, on training rows; one table."""
    from netwarden.training.ablation import resampling_table
    from netwarden.training.candidate import Candidate
    from netwarden.training.judging import judge_resampling

    settings = load_settings()
    _configure_quietly(settings)
    kind, results = judge_resampling(settings, Candidate(dataset, detector, params), seeds, budget, _say)
    print(resampling_table(results, f"{kind} at a budget of {budget:.1%}", seeds))


def tune(
    detector: Annotated[str, typer.Option(help="Detector kind; default: the pipeline's")] = "",
    dataset: Annotated[str, typer.Option(help="Dataset in the store; default: the pipeline's")] = "",
    trials: Annotated[
        int | None, typer.Option(min=0, help="Trials of this run; 0: show the study, or --write it")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="No new trial afterwards; default: 30 where --trials is not given")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trials at a time, which share the cores")] = 1,
    seeds: Annotated[int, typer.Option(min=1, help="Divisions of the training rows that each trial is judged by")] = 1,
    study: Annotated[str, typer.Option(help="Name of the study; default: DATASET-DETECTOR")] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Put the best parameters into params.json, or --params")
    ] = False,
    params: _ParamsFile = None,
) -> None:
    """Look for a detector's parameters that catch attacks unknown in training; stop with Ctrl-C, go on at any time."""
    from netwarden.training.candidate import Candidate
    from netwarden.training.tune import Effort, tune_dataset

    settings = load_settings()
    _configure_quietly(settings)
    candidate = Candidate(dataset, detector, params)
    effort = Effort(trials, 30 if trials is None and minutes is None else minutes, jobs)
    with _stopped_by_interrupt() as stop:
        tuned = tune_dataset(settings, candidate, effort, range(1, seeds + 1), study, _say_over, stop)
    _keep(settings, tuned)
    print(tuned.describe())
    if stop.is_set():
        _say("stopped; the same command goes on where it was")
    if write:
        _write(candidate.path(settings), tuned)


@contextlib.contextmanager
def _stopped_by_interrupt() -> Iterator[threading.Event]:
    """Set at the first Ctrl-C; the second one ends the process, and the trials under way are begun again next time."""
    stop = threading.Event()

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _say("\nstopping when the fits under way have ended; Ctrl-C again ends at once")

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _keep(settings: Settings, tuned: Tuned) -> None:
    from netwarden.training.tracking import track_runs

    experiment = tuned.task.params.register_.experiment
    tracked = track_runs(settings, tuned.records(f"{experiment}-tuning"))
    if tracked:
        _say(f"{len(tracked)} trials in MLflow at {tracked[0].address}")


def _write(path: Path, tuned: Tuned) -> None:
    from netwarden.errors import ConfigError
    from netwarden.training.params_file import write_values

    if tuned.best is None:
        raise ConfigError(f"{tuned.path} has no finished trial yet, so there is nothing to write; give it more time")
    section = tuned.task.section
    write_values(path, {f"{section}.{name}": value for name, value in tuned.best.values.items()})
    print(f"section {section} of {path} now has them")


def _configure_quietly(settings: Settings) -> None:
    """Warnings only, unless somebody asks for details: every one of many fits would tell what it grew."""
    logs.configure("WARNING" if settings.log_level == "INFO" else settings.log_level, settings.log_format)


def _say_over(text: str, passing: bool) -> None:
    """A line that the next one takes the place of, on a terminal; elsewhere only lines that stay."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="" if passing else "\n", file=sys.stderr, flush=True)
    elif not passing:
        _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
