"""Plays a scenario: builds the network, starts the router, services and activities on time, and ends them all."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from netwarden.errors import LabError
from netwarden.lab.network import Network, Space, network, require_host
from netwarden.lab.programs import Program, programs, require_tools
from netwarden.lab.router import Plan, Port, Way
from netwarden.lab.scenario import Activity, Link, Scenario, Service

FIRST_USER = 40_000
_READY_S = 20.0
_ROUTER_READY_S = 0.3
_GRACE_S = 1.0  # an activity ends by itself; from then on it is told to
_PATIENCE_S = 3.0  # between SIGTERM and SIGKILL
_AFTER_S = 0.5  # what is under way may still arrive
_LISTEN, _UNCONNECTED = "0A", "07"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Role:
    """An activity on one host: one user, one device, one process."""

    activity: Activity
    host: str
    user: int

    @property
    def name(self) -> str:
        return f"{self.activity.id}@{self.host}"


@dataclass(frozen=True)
class Played:
    """What came of playing a scenario. The capture and the turns lie where `play` was told."""

    roles: tuple[Role, ...]
    packets: int
    drops: dict[str, int]
    turns: list[list[Any]]  # owners.Origin; owner n is host n, or behind the hosts role n
    reports: dict[str, dict[str, Any]]  # by process: what the program reported last, or how it failed
    seconds: float


def roles_of(scenario: Scenario) -> tuple[Role, ...]:
    """Every activity on every host it runs on."""
    pairs = [(activity, host) for activity in scenario.activities for host in activity.on]
    return tuple(Role(activity, host, FIRST_USER + nth) for nth, (activity, host) in enumerate(pairs))


def play(scenario: Scenario, folder: Path, say: Say) -> Played:
    """Play a scenario to its end; `folder` gets `capture.pcap` and `logs/`. Nothing is left running, come what may.

    Raises LabError where the machine, a tool, a program or a service is not up to it.
    """
    require_host()
    found = programs(scenario)
    require_tools(found.values())
    _require_readable()
    roles, began_s = roles_of(scenario), time.monotonic()
    spaces = [
        Space(name, str(host.address), tuple(role.user for role in roles if role.host == name))
        for name, host in scenario.hosts.items()
    ]
    with _terminable(), network(secrets.token_hex(3), spaces, _name_server(scenario)) as made:
        say(
            f"run {made.run}: {len(spaces)} hosts, {len(roles)} activities; built in {time.monotonic() - began_s:.1f} s"
        )
        stage = _Stage(scenario, made, found, folder)
        try:
            return stage.play(roles, say)
        finally:
            stage.clear()


def _require_readable() -> None:
    """Activities run as users without rights, which have to read this program."""
    probe = _as_user(FIRST_USER, False, sys.executable, "-c", "import netwarden.lab.play")
    done = subprocess.run(probe, check=False, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise LabError(
            f"the lab's users cannot run {sys.executable} with this package; are its folders closed to other users? "
            f"({done.stderr.strip().splitlines()[-1:]})"
        )


def _name_server(scenario: Scenario) -> str:
    servers = [host for host in scenario.hosts.values() if any(service.port == 53 for service in host.services)]
    return str(servers[0].address) if servers else ""


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, with everything cleaned up."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_user(user: int, raw: bool, *command: str) -> list[str]:
    """The command run as a user without any rights, raw sockets apart; killed when its parent dies."""
    rights = ("--inh-caps", "-all,+net_raw", "--ambient-caps", "-all,+net_raw") if raw else ()
    return ["setpriv", "--reuid", str(user), "--regid", str(user), *_groups(), *rights,
            "--pdeathsig", "KILL", "--", *command]  # fmt: skip


@cache
def _groups() -> tuple[str, ...]:
    """Groups that may read the folders on the way to this program where others may not, as in many home folders."""
    ways = [Path(way).resolve() for way in (sys.prefix, sys.base_prefix, __file__)]
    stats = [folder.stat() for way in ways for folder in (way, *way.parents)]
    groups = {stat.st_gid for stat in stats if stat.st_gid and stat.st_mode & 0o011 == 0o010}
    return ("--groups", ",".join(map(str, sorted(groups)))) if groups else ("--clear-groups",)


@dataclass
class _Process:
    """A running program of the lab."""

    name: str
    host: str
    user: int | None
    folder: Path
    child: subprocess.Popen[bytes]
    stopping_s: float = 0.0  # when it got SIGTERM

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)


@dataclass
class _Stage:
    """A network in which a scenario is being played."""

    scenario: Scenario
    network: Network
    programs: dict[str, Program]
    folder: Path
    running: list[_Process] = field(default_factory=list)
    ended: list[_Process] = field(default_factory=list)
    router: subprocess.Popen[str] | None = None

    def play(self, roles: Sequence[Role], say: Say) -> Played:
        began_s = time.monotonic()
        services = [
            self._start_service(host, service)
            for host, declared in self.scenario.hosts.items()
            for service in declared.services
        ]
        for service, process in services:
            _await_service(service, process)
        zero_ns = time.monotonic_ns() + round(_ROUTER_READY_S * 1e9)
        self._start_router(roles, zero_ns)
        say(f"{len(services)} services listen after {time.monotonic() - began_s:.1f} s; the scenario begins")
        time.sleep(max(0.0, zero_ns / 1e9 - time.monotonic()))
        self._perform(roles)
        time.sleep(_AFTER_S)
        seconds = (time.monotonic_ns() - zero_ns) / 1e9
        refused = self.network.refused()
        told = self._stop_router()
        self._end_all()
        drops = {**told["drops"], **({"refused by the router's devices": refused} if refused else {})}
        return Played(tuple(roles), told["packets"], drops, told["turns"], self._reports(), seconds)

    def _start_router(self, roles: Sequence[Role], zero_ns: int) -> None:
        plan = _plan(self.scenario, self.network, roles, zero_ns, self.folder)
        fds = [port.fd for port in plan.ports]
        command = ["setpriv", "--pdeathsig", "KILL", "--", "nice", "-n", "-15",
                   sys.executable, "-m", "netwarden.lab.router", plan.to_json()]  # fmt: skip
        self.router = subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.network.hand_over()
        assert self.router.stdout is not None  # noqa: S101 - it is a pipe
        if self.router.stdout.readline() != "ready\n":
            raise LabError("the router did not start; what it said stands above")

    def _stop_router(self) -> dict[str, Any]:
        router = self.router
        if router is None or router.poll() is not None:
            raise LabError("the router died while the scenario was played; what it said stands above")
        router.terminate()
        if router.wait(timeout=120) != 0:
            raise LabError("the router failed to write what it saw; is the disk full?")
        path = self.folder / "turns.json"
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return told

    # --- programs ---------------------------------------------------------------------------------------------

    def _start_service(self, host: str, service: Service) -> tuple[Service, _Process]:
        name = f"service:{service.program}:{service.port}@{host}"
        folder = self.network.folder / name.replace(":", "-")
        ends_in_s = self.scenario.length_s + _READY_S
        process = self._start(name, host, None, service.program, folder, service.options, ends_in_s, service.port)
        return service, process

    def _start_role(self, role: Role, ends_in_s: float) -> None:
        activity, folder = role.activity, self.network.home(role.user)
        self._start(role.name, role.host, role.user, activity.program, folder, activity.options, ends_in_s, 0)

    def _start(
        self,
        name: str,
        host: str,
        user: int | None,
        program: str,
        folder: Path,
        options: dict[str, Any],
        ends_in_s: float,
        port: int,
    ) -> _Process:
        declared = self.programs[program]
        folder.mkdir(mode=0o755)
        if user is not None:
            os.chown(folder, user, user)
        part = {
            "run": self.network.run,
            "name": name,
            "host": host,
            "address": self.scenario.addresses[host],
            "hosts": self.scenario.addresses,
            "options": options,
            "seed": random.Random(f"{self.scenario.seed} {name}").getrandbits(32),  # noqa: S311 - repeatable
            "ends_at": time.time() + ends_in_s,
            "folder": str(folder),
            "port": port,
        }
        command = [sys.executable, "-m", declared.module, json.dumps(part)]
        alive = ["setpriv", "--pdeathsig", "KILL", "--"]
        wrapped = [*alive, *command] if user is None else _as_user(user, declared.raw, *command)
        with (folder / "program.log").open("wb") as log:
            child = subprocess.Popen(
                self.network.inside(host, *wrapped),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
                env=_environment(folder, user),
            )
        process = _Process(name, host, user, folder, child)
        self.running.append(process)
        return process

    def _perform(self, roles: Sequence[Role]) -> None:
        """Start every role on time and end it on time, until the scenario's length is over."""
        zero_s = time.monotonic()
        waiting = sorted(roles, key=lambda role: role.activity.from_s, reverse=True)
        ends = {role.name: role.activity.until_s for role in roles}
        while (elapsed_s := time.monotonic() - zero_s) < self.scenario.length_s + _GRACE_S:
            while waiting and waiting[-1].activity.from_s <= elapsed_s:
                role = waiting.pop()
                self._start_role(role, role.activity.until_s - elapsed_s)
            self._check(elapsed_s, ends)
            upcoming_s = waiting[-1].activity.from_s - elapsed_s if waiting else 1.0
            time.sleep(min(max(upcoming_s, 0.005), 0.1))

    def _check(self, elapsed_s: float, ends: dict[str, float]) -> None:
        for process in list(self.running):
            code = process.child.poll()
            if code is not None:
                if process.user is None:
                    raise LabError(f"{process.name} ended with code {code}: {_last_words(process)}")
                self._bury(process)
            elif process.user is not None and elapsed_s > ends[process.name] + _GRACE_S:
                self._end(process, elapsed_s)

    def _end(self, process: _Process, elapsed_s: float) -> None:
        if not process.stopping_s:
            process.stopping_s = elapsed_s
            process.signal(signal.SIGTERM)
        elif elapsed_s > process.stopping_s + _PATIENCE_S:
            process.signal(signal.SIGKILL)

    def _bury(self, process: _Process) -> None:
        """An activity's process has ended; so does all that it started."""
        self.network.kill(process.host, process.user)
        self.running.remove(process)
        self.ended.append(process)

    def _end_all(self) -> None:
        for process in self.running:
            process.signal(signal.SIGTERM)
        until_s = time.monotonic() + _PATIENCE_S
        for process in self.running:
            try:
                process.child.wait(max(0.01, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.signal(signal.SIGKILL)
                process.child.wait()
        self.ended += self.running
        self.running = []

    def clear(self) -> None:
        """End at once what still runs, and the router."""
        for process in self.running:
            process.signal(signal.SIGKILL)
            process.child.wait()
        if self.router is not None:
            if self.router.poll() is None:
                self.router.kill()
            self.router.wait()
            if self.router.stdout is not None:
                self.router.stdout.close()

    def _reports(self) -> dict[str, dict[str, Any]]:
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        reports = {}
        for process in sorted(self.ended, key=lambda process: process.name):
            reports[process.name] = _last_report(process)
            for name in ("program.log", "tool.log", "report.jsonl"):
                source = process.folder / name
                if source.exists() and source.stat().st_size:
                    shutil.copyfile(source, logs / f"{process.name.replace(':', '-')}.{name}")
        return reports


def _plan(scenario: Scenario, made: Network, roles: Sequence[Role], zero_ns: int, folder: Path) -> Plan:
    hosts = {name: nth for nth, name in enumerate(scenario.hosts)}
    owners = {role.user: len(hosts) + nth for nth, role in enumerate(roles)}
    ports = [
        Port(device.fd, hosts[device.host], hosts[device.host] if device.user is None else owners[device.user])
        for device in made.devices
    ]
    return Plan(
        tuple(scenario.addresses.values()),
        tuple(_way(scenario.link_of(host)) for host in hosts),
        tuple(ports),
        tuple(_behalf(scenario, roles, hosts)),
        scenario.seed,
        scenario.starts_ns // 1000,
        zero_ns,
        str(folder / "capture.pcap"),
        str(folder / "turns.json"),
    )


def _way(link: Link) -> Way:
    ns_per_byte = 8000 / link.rate_mbit
    return Way(
        round(link.delay_ms * 1e6),
        round(link.jitter_ms * 1e6),
        link.loss,
        ns_per_byte,
        round(link.queue_kb * 1000 * ns_per_byte),
    )


def _behalf(scenario: Scenario, roles: Sequence[Role], hosts: dict[str, int]) -> Iterator[dict[str, Any]]:
    for nth, role in enumerate(roles):
        activity = role.activity
        for rule in activity.behalf:
            yield {
                "by": hosts[rule.by],
                "port": rule.port,
                "to": scenario.addresses[rule.to or role.host],
                "owner": len(hosts) + nth,
                "from_us": scenario.starts_ns // 1000 + round(activity.from_s * 1e6),
                "until_us": scenario.starts_ns // 1000 + round((activity.until_s + _READY_S) * 1e6),
            }


def _environment(folder: Path, user: int | None) -> dict[str, str]:
    name = "root" if user is None else f"lab-{user}"
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "USER": name,
        "LOGNAME": name,
        "LANG": "C.UTF-8",
        "NMAP_PRIVILEGED": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _await_service(service: Service, process: _Process) -> None:
    """Until the service's port is bound, or it says why not."""
    if not service.port:
        return
    until_s = time.monotonic() + _READY_S
    while time.monotonic() < until_s:
        if process.child.poll() is not None:
            raise LabError(f"{process.name} did not start: {_last_words(process)}")
        if _listens(process.child.pid, service.port):
            return
        time.sleep(0.02)
    raise LabError(f"{process.name} does not listen after {_READY_S:.0f} s: {_last_words(process)}")


def _listens(pid: int, port: int) -> bool:
    """Whether the network namespace of a process has a TCP or UDP socket waiting at a port."""
    for table, state in (("tcp", _LISTEN), ("tcp6", _LISTEN), ("udp", _UNCONNECTED), ("udp6", _UNCONNECTED)):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == state and int(fields[1].rpartition(":")[2], 16) == port:
                    return True
    return False


def _last_words(process: _Process) -> str:
    lines = (process.folder / "program.log").read_text(errors="replace").strip().splitlines()
    return " | ".join(lines[-3:]) or "it said nothing"


def _last_report(process: _Process) -> dict[str, Any]:
    path = process.folder / "report.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    report: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    code = process.child.returncode
    if process.user is not None and code not in (0, -signal.SIGTERM):
        report["failed"] = f"code {code}: {_last_words(process)}"
    return report
