"""The command that judges detectors by a protocol. Heavy imports wait until it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from netwarden import logs
from netwarden.settings import load_settings


def experiments(
    protocol: Annotated[
        str, typer.Argument(help="official, temporal, leave-family-out, leave-attack-out, leave-tool-out or random")
    ],
    dataset: Annotated[str, typer.Option(help="Dataset in the store; default: the pipeline's")] = "",
    detector: Annotated[str, typer.Option(help="Detector kind; default: the pipeline's")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Fits of every model, seeded 1 and up")] = 5,
    budget: Annotated[float, typer.Option(help="Of the columns that name none: 0.001, 0.01 or 0.05")] = 0.01,
) -> None:
    """Fit a detector and trivial models anew over several seeds, judge them by a protocol, print one table."""
    from netwarden.evaluation.protocols import protocol_of
    from netwarden.training.experiment_table import experiment_table
    from netwarden.training.experiments import BUDGETS
    from netwarden.training.judging import judge_dataset

    if budget not in BUDGETS:
        raise typer.BadParameter(f"--budget is one of {', '.join(f'{each:g}' for each in BUDGETS)}")
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    results = judge_dataset(settings, protocol, dataset, detector, seeds, _say)
    print(experiment_table(protocol_of(protocol), results, budget, seeds))


def _say(text: str) -> None:
    print(text, file=sys.stderr)
