"""Promote, roll back, and move a budget: what changes which bundle serves, and how MLflow hears of it."""

from __future__ import annotations

import sys
from contextlib import closing, suppress

from fastapi import Request

from netwarden import jobs
from netwarden.detectors.threshold import budget_of
from netwarden.errors import ConfigError, InputError, JobBusyError
from netwarden.portal.access.audit import record
from netwarden.portal.access.people import person
from netwarden.portal.models.champions import Champions
from netwarden.scoring.budget import set_budget
from netwarden.scoring.model import load
from netwarden.settings import Settings
from netwarden.sources.connect import open_registry
from netwarden.sources.store import BundleEntry

MIRROR = "mirror"
_MIRROR_COMMAND = (sys.executable, "-c", "from netwarden.cli import main; main()", "track", "mirror")


def promote(request: Request, bundle_id: str, reason: str) -> BundleEntry:
    """The bundle, in charge of its schema. Raises BundleError where its files are not sound."""
    settings: Settings = request.app.state.settings
    load(bundle_id, settings)  # one that cannot serve takes no charge
    with closing(open_registry(settings)) as registry:
        entry = registry.promote(bundle_id, who=person(request).name, why=_given(reason))
    _changed(request, "promote", entry, reason)
    return entry


def roll_back(request: Request, schema_id: str, reason: str) -> BundleEntry:
    """The champion before the present one, in charge again. Raises NotFoundError where there is none."""
    with closing(open_registry(request.app.state.settings)) as registry:
        entry = registry.rollback(schema_id, who=person(request).name, why=_given(reason))
    _changed(request, "roll back", entry, reason)
    return entry


def move_budget(request: Request, bundle_id: str, budget: float) -> BundleEntry:
    """A new bundle with the threshold of another budget, as `netwarden threshold --budget` makes it."""
    try:
        entry = set_budget(request.app.state.settings, budget, person(request).name, bundle_id)
    except ConfigError as error:  # the budget is the client's, not one of the settings
        raise InputError(str(error)) from None
    _changed(request, "move threshold", entry, f"budget {budget:.4%}, from {bundle_id}")
    return entry


def budget_asked(budget: float | None, alerts_per_day: float | None, flows_per_day: float) -> float:
    """The budget asked for, as a share or as false alerts a day. Raises InputError unless just one is given."""
    if (budget is None) == (alerts_per_day is None):
        raise InputError("say the budget as `budget`, a share, or as `alerts_per_day`: one of the two")
    try:
        return budget if budget is not None else budget_of(alerts_per_day or 0.0, flows_per_day)
    except ConfigError as error:
        raise InputError(str(error)) from None


def _given(reason: str) -> str:
    if not reason.strip():
        raise InputError("say why: the reason stands in the history of the registry")
    return reason.strip()


def _changed(request: Request, action: str, entry: BundleEntry, detail: str) -> None:
    champions: Champions = request.app.state.champions
    champions.look_again()
    record(request, action, f"bundle {entry.bundle_id}", detail)
    _mirror(request.app.state.settings)


def _mirror(settings: Settings) -> None:
    """Let MLflow's aliases follow, in a process of its own: serving never imports MLflow."""
    if settings.mlflow_uri is None and not (settings.home / "mlflow" / "mlflow.db").exists():
        return  # nothing has ever been tracked here
    with suppress(JobBusyError):  # the one under way looks at the registry once more before it ends
        jobs.start(settings.home, MIRROR, _MIRROR_COMMAND, settings.workspace, {"NETWARDEN_HOME": str(settings.home)})
