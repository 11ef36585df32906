"""Commands about how a bundle detects. Heavy imports wait until a command needs them."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from netwarden import logs
from netwarden.settings import load_settings


def threshold(
    budget: Annotated[float | None, typer.Option(help="Share of benign flows that may alert, such as 0.01")] = None,
    alerts_per_day: Annotated[float | None, typer.Option(help="Or so many false alerts a day")] = None,
    flows_per_day: Annotated[float, typer.Option(help="Benign flows a day of this network")] = 1_000_000,
    bundle: Annotated[str, typer.Option(help="Bundle id or unique start of it; default: champion")] = "champion",
) -> None:
    """Show what each false-positive budget of a bundle costs, or move its threshold to another one without training."""
    from netwarden.detectors.threshold import budget_of
    from netwarden.scoring.budget import budget_table, set_budget

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    if budget is not None and alerts_per_day is not None:
        raise typer.BadParameter("give --budget or --alerts-per-day, not both")
    if alerts_per_day is not None:
        budget = budget_of(alerts_per_day, flows_per_day)
    if budget is None:
        print(budget_table(settings, bundle, flows_per_day))
        return
    entry = set_budget(settings, budget, who=getpass.getuser(), bundle=bundle)
    print(budget_table(settings, entry.bundle_id, flows_per_day))
