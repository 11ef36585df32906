"""The whole pipeline: `dvc repro` in a process of its own, with the interpreter that runs us."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from netwarden import jobs
from netwarden.errors import ConfigError, HeldError, JobBusyError, JobError, NotFoundError
from netwarden.params import load_params
from netwarden.settings import Settings
from netwarden.sources.connect import open_lease, open_registry
from netwarden.sources.leases import TRAINING
from netwarden.sources.manifest import read_manifest
from netwarden.stages.run_record import change_params, keep_params, keep_results

_LEASE_S = 30.0  # what a killed run keeps others waiting; renewed while it lives


def run_pipeline(settings: Settings, arguments: Sequence[str] = (), changes: Sequence[str] = ()) -> str:
    """One line on the bundle that training registered; with `arguments`, such as a stage, what they made DVC do.

    `changes`, `train.seed=8` each, go into params.json first, once no other run can be reading it.
    Raises JobError that names the failed stage, JobBusyError where another run is under way, here or on any machine
    of the same store.
    """
    if not (settings.workspace / "dvc.yaml").exists():
        raise ConfigError(
            f"{settings.workspace} holds no dvc.yaml; run from the project folder or set NETWARDEN_WORKSPACE"
        )
    # DVC would only say that a file is missing; this says how to make it.
    read_manifest(settings.manifests_dir, load_params(settings.workspace / "params.json").ingest.dataset)
    _tell_dvc_about_git(settings.workspace)
    with _only_run(settings):
        change_params(settings, changes)
        keep_params(settings)
        said = _run(settings, arguments)
        keep_results(settings)
        return said


def _run(settings: Settings, arguments: Sequence[str]) -> str:
    _repro(settings, *arguments)
    if arguments:
        return f"dvc repro {' '.join(arguments)}: done"
    if not _is_registered(settings):
        # An up-to-date pipeline meets another store or an emptied state folder: its bundle is unknown there.
        _repro(settings, "--force", "--single-item", "register")
    receipt = _receipt(settings)
    role = "champion" if receipt["champion"] else "challenger"
    jobs.report("done", f"{role} {receipt['bundle_id']}", 1.0)
    return f"{role} of {receipt['schema_id']}: {receipt['bundle_id']} ({receipt['why']})"


@contextmanager
def _only_run(settings: Settings) -> Iterator[None]:
    """The store's lease on training."""
    holder = f"{socket.gethostname()}, process {os.getpid()} since {datetime.now(UTC):%F %H:%M} UTC"
    with closing(open_lease(settings)) as lease:
        try:
            with lease.hold(TRAINING, holder, _LEASE_S):
                yield
        except HeldError as error:
            raise JobBusyError(
                f"{error}; the lease of a run that was killed ends by itself in {_LEASE_S:g} s"
            ) from None


def _repro(settings: Settings, *arguments: str) -> None:
    """Run `dvc repro`, its output passed through."""
    here = str(Path(sys.executable).parent)  # not resolved: a virtual environment's python is a link out of it
    env = {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        # Stages read settings for themselves; of a copied workspace their surroundings may say otherwise.
        "NETWARDEN_WORKSPACE": str(settings.workspace),
        "NETWARDEN_HOME": str(settings.home),
    }
    command = [sys.executable, "-m", "dvc", "repro", *arguments]
    failed = ""
    with subprocess.Popen(command, cwd=settings.workspace, env=env, stderr=subprocess.PIPE, text=True) as repro:
        for line in repro.stderr or ():
            sys.stderr.write(line)
            failed = _fault(line) or failed
    if repro.returncode == 0:
        return
    if failed == "busy":
        raise JobBusyError("another run of the pipeline is under way in this workspace; wait for it")
    raise JobError(f"stage {failed} failed; its own message stands above" if failed else "dvc repro failed; see above")


def _fault(line: str) -> str:
    """Stage that a line of DVC's says has failed, or `busy`."""
    if "busy" in line and "blocked by" in line:
        return "busy"
    named = re.search(r"failed to reproduce '([\w-]+)'", line)
    return named.group(1) if named else ""


def _is_registered(settings: Settings) -> bool:
    bundle_id = _receipt(settings)["bundle_id"]
    with closing(open_registry(settings)) as registry:
        try:
            location = registry.entry(bundle_id).location
        except NotFoundError:
            return False
    return (settings.bundles_dir / location).is_dir()


def _receipt(settings: Settings) -> dict[str, str]:
    receipt: dict[str, str] = json.loads((settings.pipeline_dir / "register" / "receipt.json").read_bytes())
    return receipt


def _tell_dvc_about_git(workspace: Path) -> None:
    """DVC refuses to work outside git unless it is told to: in an image, or in an unpacked archive.

    Its own notes then stay in the workspace too: in an image /var/tmp cannot be written.
    """
    from dvc.config import Config  # noqa: PLC0415 - takes a quarter of a second

    inside = any((folder / ".git").exists() for folder in (workspace, *workspace.parents))
    config = Config(str(workspace / ".dvc"), validate=False)
    if bool(config.load_one("local").get("core", {}).get("no_scm")) == (not inside):
        return
    with config.edit("local") as local:
        core = local.setdefault("core", {})
        core["no_scm"] = not inside
        core.pop("site_cache_dir", None)
        if not inside:
            core["site_cache_dir"] = str(workspace / ".dvc" / "tmp" / "site")
