"""The lab's programs: where each one is, and which tools and privileges it declares."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from netwarden.errors import LabError
from netwarden.lab.scenario import Scenario

_ACTIVITIES = ("clients", "attacks")
_SERVICES = ("services",)
_SHARED = {  # where options are explained that all programs of a kind understand
    "clients": ("netwarden.lab.clients.sessions",),
    "attacks": ("netwarden.lab.clients.sessions", "netwarden.lab.attacks.targets"),
}
SYSTEM_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Program:
    """A module to run, the tools it needs as {command: Debian package}, whether it needs raw sockets, its options."""

    module: str
    tools: dict[str, str]
    raw: bool
    options: frozenset[str]


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


def require_options(scenario: Scenario, found: dict[str, Program]) -> None:
    """Raise LabError that names an option which the program of a service or an activity does not have."""
    given = [(f"activity {activity.id!r}", activity.program, activity.options) for activity in scenario.activities]
    for name, host in scenario.hosts.items():
        given += [(f"host {name!r}", service.program, service.options) for service in host.services]
    for where, name, options in given:
        if unknown := sorted(options.keys() - found[name].options):
            known = ", ".join(sorted(found[name].options)) or "none"
            raise LabError(f"{where}: the program {name} has no option {unknown[0]!r}; it has {known}")


def missing_packages(needed: Iterable[Program]) -> list[str]:
    """Debian packages of tools that are not installed."""
    tools = {command: package for program in needed for command, package in program.tools.items()}
    return sorted({package for command, package in tools.items() if not shutil.which(command, path=SYSTEM_FOLDERS)})


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of every one of these packages that dpkg knows to be installed, and of the system beneath them."""
    shown = ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *sorted(packages)]
    told = subprocess.run(shown, check=False, capture_output=True, text=True).stdout
    versions = dict(line.split() for line in told.splitlines() if len(line.split()) == 2)
    return {"Linux": platform.release().split("-")[0], "Python": platform.python_version(), **versions}


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
    return Program(module, tools, bool(getattr(loaded, "RAW", False)), _options(module))


def _options(module: str) -> frozenset[str]:
    """What a program's first lines name as code, and those of the modules that its kind builds on: its options."""
    modules = (module, *_SHARED.get(module.split(".")[-2], ()))
    lines = "\n".join(importlib.import_module(name).__doc__ or "" for name in modules)
    return frozenset(re.findall(r"`(\w+)", lines))


def _command(entry: str) -> tuple[str, str]:
    command, _, package = entry.partition("=")
    return command, package or command
