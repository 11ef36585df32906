"""Plays a scenario: builds the network, starts the router, services and activities on time, and ends them all."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netwarden.errors import LabError
from netwarden.lab.network import Network, Space, network, require_host
from netwarden.lab.processes import READY_S, Process, await_port, require_readable, start_process
from netwarden.lab.programs import Program, programs, require_options, require_tools
from netwarden.lab.router import Plan, Port, Way
from netwarden.lab.scenario import Activity, Link, Scenario, Service

FIRST_USER = 40_000
_ROUTER_READY_S = 0.3
_GRACE_S = 1.0  # an activity ends by itself; from then on it is told to
_PATIENCE_S = 3.0  # between SIGTERM and SIGKILL
_AFTER_S = 0.5  # what is under way may still arrive
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
    require_options(scenario, found)
    require_tools(found.values())
    require_readable(FIRST_USER)
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


def _name_server(scenario: Scenario) -> str:
    servers = [host for host in scenario.hosts.values() if any(service.port == 53 for service in host.services)]
    return str(servers[0].address) if servers else ""


@contextmanager
def _terminable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, with everything cleaned up; a second one does not end the cleaning."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(_signal: int, _frame: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@dataclass
class _Stage:
    """A network in which a scenario is being played."""

    scenario: Scenario
    network: Network
    programs: dict[str, Program]
    folder: Path
    running: list[Process] = field(default_factory=list)
    ended: list[Process] = field(default_factory=list)
    router: subprocess.Popen[str] | None = None

    def play(self, roles: Sequence[Role], say: Say) -> Played:
        began_s = time.monotonic()
        services = [
            self._start_service(host, service)
            for host, declared in self.scenario.hosts.items()
            for service in declared.services
        ]
        for service, process in services:
            await_port(process, service.port)
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

    def _start_service(self, host: str, service: Service) -> tuple[Service, Process]:
        name = f"service:{service.program}:{service.port}@{host}"
        part = {
            **self._part(name, host, service.options, self.scenario.length_s + READY_S),
            "folder": str(self.network.folder / name.replace(":", "-")),
            "port": service.port,
        }
        process = start_process(self.network, self.programs[service.program], part, None)
        self.running.append(process)
        return service, process

    def _start_role(self, role: Role, ends_in_s: float) -> None:
        part = {
            **self._part(role.name, role.host, role.activity.options, ends_in_s),
            "folder": str(self.network.home(role.user)),
        }
        self.running.append(start_process(self.network, self.programs[role.activity.program], part, role.user))

    def _part(self, name: str, host: str, options: dict[str, Any], ends_in_s: float) -> dict[str, Any]:
        return {
            "run": self.network.run,
            "name": name,
            "host": host,
            "address": self.scenario.addresses[host],
            "hosts": self.scenario.addresses,
            "options": options,
            "seed": random.Random(f"{self.scenario.seed} {name}").getrandbits(32),  # noqa: S311 - repeatable
            "ends_at": time.time() + ends_in_s,
        }

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
                    raise LabError(f"{process.name} ended with code {code}: {process.last_words()}")
                self._bury(process)
            elif process.user is not None and elapsed_s > ends[process.name] + _GRACE_S:
                self._end(process, elapsed_s)

    def _end(self, process: Process, elapsed_s: float) -> None:
        if not process.stopping_s:
            process.stopping_s = elapsed_s
            process.signal(signal.SIGTERM)
        elif elapsed_s > process.stopping_s + _PATIENCE_S:
            process.signal(signal.SIGKILL)

    def _bury(self, process: Process) -> None:
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
            reports[process.name] = process.last_report()
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
                "until_us": scenario.starts_ns // 1000 + round((activity.until_s + READY_S) * 1e6),
            }
