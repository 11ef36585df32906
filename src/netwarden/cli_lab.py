"""The commands of `netwarden lab`. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from netwarden.lab.record import Recording
    from netwarden.lab.scenario import Scenario

lab = typer.Typer(no_args_is_help=True, help="The traffic laboratory: scenarios in network namespaces (needs root).")

_Scenario = Annotated[Path, typer.Argument(help="YAML file; those that are shipped lie in lab/scenarios")]


@lab.command()
def record(
    scenario: _Scenario,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the recording; an earlier one is replaced")],
) -> None:
    """Play a scenario, and leave its capture, its truth and its labelled flows in a folder."""
    from netwarden.lab.network import require_host
    from netwarden.lab.scenario import load_scenario

    require_host()  # before the meter is loaded, which is compiled at first use
    print(_record(load_scenario(scenario), output))


@lab.command("try")
def try_out(
    scenario: _Scenario,
    only: Annotated[str, typer.Option(help="Only these activities, by id, with commas")] = "",
    seconds: Annotated[float, typer.Option(help="Start all at once and end so many seconds later")] = 0.0,
    keep: Annotated[Path | None, typer.Option(help="Folder to keep the recording in")] = None,
) -> None:
    """Play a scenario or a part of it, and print what was recorded."""
    from netwarden.lab.drafts import passing_folder
    from netwarden.lab.network import require_host

    require_host()  # before the meter is loaded, which is compiled at first use
    from netwarden.lab.record import only as choose
    from netwarden.lab.scenario import load_scenario

    chosen = choose(load_scenario(scenario), [name for name in only.split(",") if name], seconds)
    with passing_folder() as folder:
        print(_record(chosen, keep or folder))


def _record(scenario: Scenario, output: Path) -> Recording:
    from netwarden.capture.compiled import ready
    from netwarden.flows.labels import load_families
    from netwarden.lab.record import record as run
    from netwarden.settings import load_settings

    ready(_say)
    return run(scenario, output, load_families(load_settings().schema_dir / "families.yaml"), _say)


@lab.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder that `lab record` left")],
    second: Annotated[Path, typer.Argument(help="Another recording of the same scenario")],
) -> None:
    """Compare two recordings of a scenario: flows by label, and which differ by more than 5 %."""
    from netwarden.lab.repeat import compare_recordings

    print(compare_recordings(first, second))


@lab.command()
def detect(
    recording: Annotated[Path, typer.Argument(help="Folder that `lab record` left")],
    bundle: Annotated[str, typer.Option(help="Bundle id or folder; default: champion")] = "champion",
) -> None:
    """Score a recording: which of its attacks a detector sees, and which benign activities it accuses."""
    from netwarden.lab.detected import detect as judge
    from netwarden.settings import load_settings

    print(judge(recording, load_settings(), bundle))


@lab.command()
def dataset(
    recordings: Annotated[list[Path], typer.Argument(help="Folders that `lab record` left, one a day")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the dataset; lab/data is what ships")],
) -> None:
    """Build the files of a dataset from recorded days, and print its flows by label and day."""
    from netwarden.capture.compiled import ready
    from netwarden.flows.schema import load_schema
    from netwarden.lab.dataset import SCHEMA_ID, build_dataset, read_recording
    from netwarden.settings import load_settings

    ready(_say)
    schema = load_schema(SCHEMA_ID, load_settings().schema_dir)
    print(build_dataset([read_recording(folder) for folder in recordings], output, schema))


@lab.command()
def demo(
    recording: Annotated[Path, typer.Argument(help="Folder that `lab record` left")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Ends with .pcap.gz; the portal offers lab/demo.pcap.gz")
    ],
    from_s: Annotated[float, typer.Option(help="Seconds after the start at which the piece begins")] = 0.0,
    until_s: Annotated[float, typer.Option(help="Seconds after the start at which it ends")] = 60.0,
    most_packets: Annotated[int, typer.Option(help="Longer conversations, such as bulk copies, are left out")] = 300,
    snap_bytes: Annotated[int, typer.Option(min=64, help="Bytes kept of each packet; sizes are metered in full")] = 80,
) -> None:
    """Cut a short capture out of a recording, with the truth of its flows beside it."""
    from netwarden.capture.compiled import ready
    from netwarden.lab.demo import Cut, build_demo

    ready(_say)
    print(build_demo(recording, output, Cut(from_s, until_s, most_packets, snap_bytes)))


@lab.command()
def audit(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a dataset; default: the one that ships")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of every model")] = 5,
    page: Annotated[Path | None, typer.Option(help="Data card to bring up to date, docs/lab-dataset.md")] = None,
) -> None:
    """Judge a dataset: what single features, identifiers, trivial models and boosted trees tell of its attacks."""
    from netwarden.lab.audit import run_audit
    from netwarden.lab.audit_page import audit_tables, counts_table, write_page
    from netwarden.lab.days import load_days
    from netwarden.settings import load_settings

    settings = load_settings()
    days, found = load_days(settings, folder), run_audit(settings, folder, seeds, _say)
    print(f"### Flows by label and day\n\n{counts_table(days)}\n\n{audit_tables(found)}")
    if page:
        write_page(page, days, found)


@lab.command()
def clean() -> None:
    """Remove what killed recorders left: namespaces, processes in them, files."""
    from netwarden.lab.drafts import remove_passing
    from netwarden.lab.network import clean as remove

    gone = [*remove(), *remove_passing()]
    print(f"removed {len(gone)}: {', '.join(gone)}" if gone else "nothing was left")


@lab.command()
def packages(
    scenario: Annotated[Path | None, typer.Argument(help="Only what this scenario needs")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Only what is not installed")] = False,
    versions: Annotated[bool, typer.Option("--versions", help="With the versions that are installed here")] = False,
    page: Annotated[Path | None, typer.Option(help="Data card to write those versions into")] = None,
) -> None:
    """Debian packages that the lab's programs need, one a line."""
    from netwarden.lab.programs import all_programs, installed_versions, missing_packages, programs
    from netwarden.lab.scenario import load_scenario

    needed = (programs(load_scenario(scenario)) if scenario else all_programs()).values()
    named = {package for program in needed for package in program.tools.values()}
    installed = installed_versions(named) if versions or page else {}
    if page:
        from netwarden.lab.audit_page import write_versions

        write_versions(page, installed)
    for package in missing_packages(needed) if missing else installed if versions else sorted(named):
        print(package, installed.get(package, "")) if versions else print(package)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
