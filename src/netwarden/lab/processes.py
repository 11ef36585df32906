"""Programs of the lab as processes: started in a namespace as a user without rights, watched, read when they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from netwarden.errors import LabError
from netwarden.lab.network import Network
from netwarden.lab.programs import SYSTEM_FOLDERS, Program

READY_S = 60.0  # on a busy machine; a database is there in two
_MORTAL = ("setpriv", "--pdeathsig", "KILL")  # whoever starts it: it dies with its parent, also after kill -9
_LISTEN, _UNCONNECTED = "0A", "07"


@dataclass
class Process:
    """A running program of the lab."""

    name: str
    host: str
    user: int | None
    folder: Path
    child: subprocess.Popen[bytes]
    stopping_s: float = 0.0  # when it got SIGTERM

    def signal(self, number: int) -> None:
        """Send a signal to the program and what it started in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def last_words(self) -> str:
        """The last lines of its output."""
        lines = (self.folder / "program.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def last_report(self) -> dict[str, Any]:
        """What it reported last; of an activity that failed, also how."""
        path = self.folder / "report.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        report: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        code = self.child.returncode
        if self.user is not None and code not in (0, -signal.SIGTERM):
            report["failed"] = f"code {code}: {self.last_words()}"
        return report


def start_process(made: Network, program: Program, part: dict[str, Any], user: int | None) -> Process:
    """Start a program with its part (see lab.play): as a user of its own, or, for None, as root."""
    host, folder = part["host"], Path(part["folder"])
    folder.mkdir(mode=0o755)
    if user is not None:
        os.chown(folder, user, user)
    command = [sys.executable, "-m", program.module, json.dumps(part)]
    wrapped = [*_MORTAL, "--", *command] if user is None else _as_user(user, program.raw, *command)
    with (folder / "program.log").open("wb") as log:
        child = subprocess.Popen(
            made.inside(host, *wrapped),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env=_environment(folder, user),
        )
    return Process(part["name"], host, user, folder, child)


def await_port(process: Process, port: int) -> None:
    """Until a service listens. Raises LabError with its last words where it does not."""
    until_s = time.monotonic() + READY_S
    while time.monotonic() < until_s:
        if process.child.poll() is not None:
            raise LabError(f"{process.name} did not start: {process.last_words()}")
        if _listens(process.child.pid, port):
            return
        time.sleep(0.02)
    raise LabError(f"{process.name} does not listen after {READY_S:.0f} s: {process.last_words()}")


def _listens(pid: int, port: int) -> bool:
    """Whether the network namespace of a process has a TCP or UDP socket waiting at a port."""
    for table, state in (("tcp", _LISTEN), ("tcp6", _LISTEN), ("udp", _UNCONNECTED), ("udp6", _UNCONNECTED)):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def require_readable(user: int) -> None:
    """Raise LabError where a user without rights, as activities run, cannot read this program."""
    probe = _as_user(user, False, sys.executable, "-c", "import netwarden.lab.play")
    done = subprocess.run(probe, check=False, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise LabError(
            f"the lab's users cannot run {sys.executable} with this package; are its folders closed to other users? "
            f"({done.stderr.strip().splitlines()[-1:]})"
        )


def _as_user(user: int, raw: bool, *command: str) -> list[str]:
    """The command run as a user without any rights, raw sockets apart; it dies with its parent."""
    rights = ("--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw") if raw else ()
    return [*_MORTAL, "--reuid", str(user), "--regid", str(user), *_groups(), *rights, "--", *command]


@cache
def _groups() -> tuple[str, ...]:
    """Groups that may read the folders on the way to this program where others may not, as in many home folders."""
    ways = [Path(way).resolve() for way in (sys.prefix, sys.base_prefix, __file__)]
    stats = [folder.stat() for way in ways for folder in (way, *way.parents)]
    groups = {stat.st_gid for stat in stats if stat.st_gid and stat.st_mode & 0o011 == 0o010}
    return ("--groups", ",".join(map(str, sorted(groups)))) if groups else ("--clear-groups",)


def _environment(folder: Path, user: int | None) -> dict[str, str]:
    name = "root" if user is None else f"lab-{user}"
    return {
        "PATH": SYSTEM_FOLDERS,
        "HOME": str(folder),
        "USER": name,
        "LOGNAME": name,
        "LANG": "C.UTF-8",
        "NMAP_PRIVILEGED": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
