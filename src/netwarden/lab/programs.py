"""The lab's programs: where each one is, and which tools and privileges it declares."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from netwarden.errors import LabError
from netwarden.lab.scenario import Scenario

_ACTIVITIES = ("clients", "attacks")
_SERVICES = ("services",)
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Program:
    """A module to run, the tools it needs as {command: Debian package}, and whether it needs raw sockets."""

    module: str
    tools: dict[str, str]
    raw: bool


def programs(scenario: Scenario) -> dict[str, Program]:
    """Name → program of every service and activity. Raises LabError where one does not exist."""
    services = {service.program for host in scenario.hosts.values() for service in host.services}
    return {
        **{name: _find(name, _SERVICES) for name in sorted(services)},
        **{name: _find(name, _ACTIVITIES) for name in sorted({activity.program for activity in scenario.activities})},
    }


def all_programs() -> dict[str, Program]:
    """Name → every program there is."""
    folder = Path(__file__).parent
    found = {}
    for part in (*_SERVICES, *_ACTIVITIES):
        for path in sorted((folder / part).glob("*.py")):
            module = importlib.import_module(f"netwarden.lab.{part}.{path.stem}")
            if hasattr(module, "main"):
                found[path.stem] = _declared(module.__name__)
    return found


def require_tools(needed: Iterable[Program]) -> None:
    """Raise LabError that names every missing tool and the packages that bring them."""
    missing = missing_packages(needed)
    if missing:
        raise LabError(
            f"the scenario needs programs that are not installed; `apt-get install {' '.join(missing)}` "
            "or deploy/lab_packages.sh brings them"
        )


def missing_packages(needed: Iterable[Program]) -> list[str]:
    """Debian packages of tools that are not installed."""
    tools = {command: package for program in needed for command, package in program.tools.items()}
    return sorted({package for command, package in tools.items() if not shutil.which(command, path=SYSTEM_FOLDERS)})


def _find(name: str, parts: tuple[str, ...]) -> Program:
    for part in parts:
        module = f"netwarden.lab.{part}.{name}"
        try:
            if find_spec(module) is not None:
                return _declared(module)
        except ModuleNotFoundError:
            continue
    raise LabError(f"no program {name!r} in src/netwarden/lab/{' or '.join(parts)}")


def _declared(module: str) -> Program:
    loaded = importlib.import_module(module)
    if not hasattr(loaded, "main"):
        raise LabError(f"{module} has no main(), so it is no program of the lab")
    tools = dict(_command(entry) for entry in getattr(loaded, "PACKAGES", ()))
    return Program(module, tools, bool(getattr(loaded, "RAW", False)))


def _command(entry: str) -> tuple[str, str]:
    command, _, package = entry.partition("=")
    return command, package or command
