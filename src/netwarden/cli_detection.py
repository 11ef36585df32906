"""Commands about how a bundle detects. Heavy imports wait until a command needs them."""

from __future__ import annotations

import getpass
from pathlib import Path
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


def drift(
    flows: Annotated[Path, typer.Argument(help="File of flows, or a capture")],
    bundle: Annotated[str, typer.Option(help="Bundle id or unique start of it; default: champion")] = "champion",
    against: Annotated[str, typer.Option(help="`all` flows of training, or the `benign` ones among them")] = "all",
    top: Annotated[int, typer.Option(help="Features to show")] = 15,
) -> None:
    """Show how far flows have moved from those a bundle was trained on, the worst feature first (PSI)."""
    from netwarden.evaluation.drift import describe_drift, measure_drift
    from netwarden.scoring.model import load
    from netwarden.scoring.sample import read_sample

    if against not in ("all", "benign"):
        raise typer.BadParameter(f"--against is `all` or `benign`, not {against!r}")
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    model = load(bundle, settings)
    sample = read_sample(model, flows)
    print(f"{sample} against bundle {model.bundle.bundle_id}, {against} flows of its reference")
    print(describe_drift(measure_drift(model.bundle, sample.table, "benign" if against == "benign" else "all"), top))


def calibrate(
    flows: Annotated[Path, typer.Argument(help="Flows of your network, or a capture, with hardly any attacks")],
    bundle: Annotated[str, typer.Option(help="Bundle id or unique start of it; default: champion")] = "champion",
    budget: Annotated[
        float | None, typer.Option(help="Share of benign flows that may alert; default: as it is")
    ] = None,
    flows_per_day: Annotated[float, typer.Option(help="Flows a day of this network")] = 1_000_000,
    set_aside: Annotated[Path | None, typer.Option(help="CSV to list in full what was taken for attacks")] = None,
    most_aside: Annotated[
        float, typer.Option(help="Largest share of the flows to take for attacks; 0: none is")
    ] = 0.02,
) -> None:
    """Fit a bundle's threshold and sense of the usual to your own network, as a new bundle; the trees stay."""
    from netwarden.scoring.calibrate import calibrate_bundle, write_set_aside

    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    who = getpass.getuser()
    done = calibrate_bundle(settings, flows, who, bundle=bundle, budget=budget, most_aside=most_aside)
    print(done.describe(flows_per_day))
    if set_aside is not None:
        write_set_aside(done, set_aside)
        print(f"all {len(done.set_aside):,} rows set aside are in {set_aside}")
