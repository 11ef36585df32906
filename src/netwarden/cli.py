"""The `netwarden` command. Parses, calls one function, prints; heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netwarden import __version__, logs
from netwarden.cli_batch import batch, pipeline
from netwarden.cli_detection import calibrate, drift, threshold
from netwarden.cli_experiments import experiments, resampling, tune
from netwarden.cli_lab import lab
from netwarden.cli_meter import meter
from netwarden.cli_people import password
from netwarden.cli_streaming import dead_letters, sensor, up, worker
from netwarden.errors import NetwardenError
from netwarden.settings import Settings, load_settings

if TYPE_CHECKING:
    from netwarden.sources.store import BundleEntry

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Network intrusion detection you can audit.")
data = typer.Typer(no_args_is_help=True, help="Public datasets: where they are, what they cost, how to get them.")
schema = typer.Typer(no_args_is_help=True, help="Dataset schemas.")
models = typer.Typer(no_args_is_help=True, help="Registered bundles: champion, challengers, history.")
bundle = typer.Typer(no_args_is_help=True, help="Detector bundles.")
track = typer.Typer(no_args_is_help=True, help="Experiment tracking.")
dagshub = typer.Typer(no_args_is_help=True, help="DagsHub as tracking server and DVC remote.")
for name, group in (
    ("data", data),
    ("schema", schema),
    ("models", models),
    ("bundle", bundle),
    ("track", track),
    ("dagshub", dagshub),
    ("meter", meter),
    ("lab", lab),
    ("dead-letters", dead_letters),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; errors of ours are one line on standard error and exit code 1."""
    try:
        app()
    except NetwardenError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _settings() -> Settings:
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    for warning in settings.warnings:
        logs.get("netwarden.settings").warning(warning)
    return settings


def _writing_settings() -> Settings:
    """Settings with a workspace that can be written, for what loads and trains."""
    from netwarden.working_copy import writable_workspace

    return writable_workspace(_settings())


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


@app.command()
def etl(
    paths: Annotated[list[Path] | None, typer.Argument(help="CSV files or folders (plain or .gz)")] = None,
    dataset: Annotated[str, typer.Option(help="Dataset name; a public one is found under NETWARDEN_DATA")] = "",
    schema: Annotated[str, typer.Option(help="Schema id or YAML path; guessed from the columns if not given")] = "",
    labels: Annotated[Path | None, typer.Option(help="Second file that holds the labels, row by row")] = None,
) -> None:
    """Move flow tables into the store: checked, idempotent, resumable."""
    from netwarden.sources.etl import run_etl
    from netwarden.sources.progress import load_progress

    with load_progress() as progress:
        report = run_etl(
            _writing_settings(), paths or [], dataset=dataset, schema=schema, labels=labels, progress=progress
        )
    print(report)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Into params.json first, such as train.seed=8; repeatable")
    ] = None,
) -> None:
    """Run the training pipeline; further arguments go to `dvc repro`."""
    import signal

    from netwarden.stages.run import run_pipeline

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the lease on training is given back
    print(run_pipeline(_writing_settings(), context.args, changes or ()))


@data.command("list")
def data_list() -> None:
    """Show public datasets with address, licence and size."""
    from netwarden.sources.datasets import describe_all

    print(describe_all(_settings()))


@data.command("get")
def data_get(name: str) -> None:
    """Download a dataset, or say where to put it by hand."""
    from netwarden.sources.datasets import fetch

    print(fetch(_settings(), name))


@data.command("pull")
def data_pull() -> None:
    """Bring the data snapshots of this commit back from the DVC remote."""
    from netwarden.training.remotes import pull_snapshots

    print(pull_snapshots(_writing_settings()))


@schema.command("draft")
def schema_draft(
    file: Path,
    label: Annotated[str, typer.Option(help="Column that holds the label")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="YAML to write; default schema/NAME.yaml")
    ] = None,
) -> None:
    """Write a first schema for a dataset nobody here has seen."""
    from netwarden.sources.draft import draft_schema

    print(draft_schema(_settings(), file, label=label, output=output))


@bundle.command("verify")
def bundle_verify(folder: Path) -> None:
    """Check hashes, format and contract of a bundle folder."""
    from netwarden.detectors.bundle import load_bundle

    print(load_bundle(folder).describe())


app.command()(batch)
app.command()(pipeline)
app.command()(threshold)
app.command()(calibrate)
app.command()(drift)
app.command()(experiments)
app.command()(sensor)
app.command()(worker)
app.command()(up)
app.command()(resampling)
app.command()(tune)
app.command()(password)


@models.command("list")
def models_list(
    schema: Annotated[str, typer.Option(help="Only this schema's")] = "",
    history: Annotated[bool, typer.Option("--history", help="Who changed what, when and why, instead")] = False,
) -> None:
    """Show bundles, newest first; the champion of each schema is marked."""
    from netwarden.sources.connect import open_registry
    from netwarden.sources.registry_text import describe_bundles, describe_history

    with closing(open_registry(_settings())) as registry:
        print((describe_history if history else describe_bundles)(registry, schema))


@models.command("promote")
def models_promote(bundle_id: str, reason: Annotated[str, typer.Option(help="Kept in the history")]) -> None:
    """Make a bundle its schema's champion."""
    from netwarden.sources.connect import open_registry

    settings = _settings()
    with closing(open_registry(settings)) as registry:
        entry = registry.promote(bundle_id, who=_user(), why=reason)
    _mirror(settings, entry)


@models.command("rollback")
def models_rollback(schema: str, reason: Annotated[str, typer.Option(help="Kept in the history")]) -> None:
    """Make the champion before the present one champion again."""
    from netwarden.sources.connect import open_registry

    settings = _settings()
    with closing(open_registry(settings)) as registry:
        entry = registry.rollback(schema, who=_user(), why=reason)
    _mirror(settings, entry)


def _mirror(settings: Settings, entry: BundleEntry) -> None:
    from netwarden.training.tracking import mirror_champion

    mirror_champion(settings, entry)
    print(f"champion of {entry.schema_id}: {entry.bundle_id}")


def _user() -> str:
    import getpass

    return getpass.getuser()


@app.command()
def restore(bundle_id: str) -> None:
    """Bring a bundle back from the backup and verify it."""
    from netwarden.scoring.model import restore_bundle

    print(restore_bundle(_settings(), bundle_id))


@track.command("sync")
def track_sync() -> None:
    """Upload runs that were kept locally while the tracking server was away."""
    from netwarden.training.tracking import sync

    print(sync(_settings()))


@track.command("mirror")
def track_mirror() -> None:
    """Point MLflow's alias `champion` of each schema at the bundle that our registry has in charge."""
    from netwarden.training.tracking import mirror_champions

    print("\n".join(mirror_champions(_settings())) or "no schema has a champion yet")


@dagshub.command("connect")
def dagshub_connect(repo: Annotated[str, typer.Argument(help="OWNER/REPO")]) -> None:
    """Set up MLflow and the DVC remote on DagsHub, and verify with a real request."""
    from netwarden.training.remotes import connect

    print(connect(_settings(), repo))


@app.command()
def doctor() -> None:
    """Check each address, credential and permission, and say what to do."""
    from netwarden.doctor import examine

    report = examine(_settings())
    print(report)
    raise typer.Exit(0 if report.healthy else 1)


@app.command()
def plan(
    pps: Annotated[float, typer.Option(min=0, help="Packets a second")],
    flows: Annotated[float, typer.Option(min=0, help="New flows a second")],
    retention: Annotated[float, typer.Option(min=0, help="Days that alerts are kept")] = 30,
    alerts: Annotated[float, typer.Option(min=0, max=1, help="Share of the flows that alert")] = 0.001,
    packet_bytes: Annotated[float, typer.Option(min=1, help="Mean size of a packet")] = 700,
) -> None:
    """Reckon cores, memory, Redis, store and network that a network's traffic needs (docs/capacity.md)."""
    from netwarden.capacity import Traffic, describe_plan

    print(describe_plan(Traffic(pps, flows, retention, alert_share=alerts, packet_bytes=packet_bytes)))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to bind")] = "",
    port: Annotated[int, typer.Option(help="Port to bind")] = 0,
) -> None:
    """Serve the portal and the JSON API."""
    from netwarden.portal.server import serve as run

    run(_writing_settings(), host=host, port=port)
