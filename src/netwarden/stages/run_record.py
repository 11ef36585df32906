"""What is kept of a run beside its log: the parameters it had, and at its end figures, plots and receipt.

The pipeline's own folder holds the outputs of the latest run alone; this is how runs are compared later.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from typing import Any

from netwarden import jobs
from netwarden.errors import ConfigError
from netwarden.settings import Settings
from netwarden.training.params_file import write_values

# Within the folder of a run.
PARAMS, RESULTS = "params.json", "results"
_OUTPUTS = ("evaluate/metrics.json", "evaluate/plots", "register/receipt.json")


def change_params(settings: Settings, changes: Sequence[str]) -> None:
    """Put `section.name=value` changes into params.json; a value is JSON, or text as it stands.

    Raises ConfigError where one is none, or where params.json would be refused with them; it then stays as it was.
    """
    if changes:
        write_values(settings.workspace / "params.json", dict(_change(change) for change in changes))


def keep_params(settings: Settings) -> None:
    """Copy the parameters to the folder of this run, if it is one of `netwarden.jobs`."""
    if folder := jobs.own_folder():
        shutil.copyfile(settings.workspace / "params.json", folder / PARAMS)


def keep_results(settings: Settings) -> None:
    """Copy figures, plots and receipt to the folder of this run; whole, or not at all."""
    folder = jobs.own_folder()
    if folder is None:
        return
    draft = folder / f".{RESULTS}"
    draft.mkdir()
    for name in _OUTPUTS:
        source = settings.pipeline_dir / name
        if source.is_dir():
            shutil.copytree(source, draft / source.name)
        elif source.exists():
            shutil.copyfile(source, draft / source.name)
    draft.rename(folder / RESULTS)


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{text!r} changes no parameter; write it as section.name=value, such as train.seed=8")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value
