"""What a program of the lab gets: its part in the scenario. Standard library only, for a quick start.

    PACKAGES = ("nmap", "dig=bind9-dnsutils")  # programs it runs; command=package where the two differ
    RAW = True                                 # needs raw sockets (an activity runs without any privilege otherwise)

    def main() -> None:
        part = play.enter()
        while part.pause(0.5, 2.0):
            ...
        part.report(requests=12)

Activities end by themselves when `remaining()` is 0 (a second later they get SIGTERM, three later SIGKILL, as does
whatever they started). Services run until they get SIGTERM, which ends them as `sys.exit(0)` would.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

RUNS = Path("/run/netwarden-lab")


@dataclass(frozen=True)
class Ran:
    """How a tool ended; `code` is None where the time was up."""

    code: int | None
    output: str

    @property
    def ok(self) -> bool:
        return self.code == 0


@dataclass(frozen=True)
class Part:
    """One program's part in the scenario: where it is, whom it may talk to, how long, with which randomness."""

    name: str  # activity@host, or service:program:port@host
    host: str
    address: str
    hosts: dict[str, str]  # name → address; nothing else exists
    options: dict[str, Any]  # what the scenario says under `with`
    seed: int  # the same in every recording of the scenario, differs between parts
    ends_at: float  # unix time
    folder: Path  # scratch of this process alone, also its working directory and HOME
    port: int = 0  # a service's
    rng: random.Random = field(default_factory=random.Random, compare=False)

    def remaining(self) -> float:
        """Seconds left, 0 when time is up."""
        return max(0.0, self.ends_at - time.time())

    def pause(self, low_s: float, high_s: float | None = None) -> bool:
        """Wait so long (drawn between the two), at most until the end; False when time is up."""
        wanted_s = low_s if high_s is None else self.rng.uniform(low_s, high_s)
        time.sleep(max(0.0, min(wanted_s, self.remaining())))
        return self.remaining() > 0

    def until(self, after_s: float) -> Iterator[int]:
        """0, 1, 2, … one every `after_s` seconds, on the beat, while time remains."""
        began, nth = time.time(), 0
        while self.pause(began + nth * after_s - time.time()):
            yield nth
            nth += 1

    def at(self, host: str) -> str:
        """Address of a host by name, or of one of the scenario's addresses; nothing else is talked to."""
        if host in self.hosts:
            return self.hosts[host]
        if host in self.hosts.values():
            return host
        refuse(f"{self.name}: {host!r} is no host of this scenario; it has {', '.join(self.hosts)}")

    def tool(self, command: Sequence[str], timeout_s: float | None = None, text: str = "") -> Ran:
        """Run a tool until it ends, its time is up or the part's is; `text` is its standard input.

        Its output is returned (the last 64 kB) and kept in `tool.log` of the scratch folder.
        """
        limit_s = self.remaining() if timeout_s is None else min(timeout_s, self.remaining())
        with (self.folder / "tool.log").open("ab+") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            began = log.tell()
            with _started(command, log) as process:
                try:
                    process.communicate(text.encode(), timeout=max(limit_s, 0.01))
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    code = None
                else:
                    code = process.returncode
            log.seek(max(began, log.seek(0, os.SEEK_END) - 65_536))
            return Ran(code, log.read().decode(errors="replace"))

    def report(self, **counts: Any) -> None:
        """Say what was done: one line of the recording's log. The last one of a part counts."""
        with (self.folder / "report.jsonl").open("a", encoding="utf-8") as target:
            target.write(json.dumps(counts) + "\n")

    def wait(self) -> None:
        """Until time is up; for services whose work other threads do."""
        while self.pause(1.0):
            pass


@contextmanager
def _started(command: Sequence[str], log: Any) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    except FileNotFoundError:
        refuse(f"{command[0]} is not installed; the program's PACKAGES should name it")
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def enter() -> Part:
    """The part that the runner gave as this process's one argument.

    Ends the process with a message where it does not run inside a namespace of the lab.
    """
    try:
        given = json.loads(sys.argv[1])
        run, part = given.pop("run"), Part(**{**given, "folder": Path(given["folder"])})
    except (IndexError, ValueError, KeyError, TypeError, AttributeError):
        refuse("this is a program of the traffic lab; `netwarden lab record SCENARIO` starts it")
    _require_namespace(run, part)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    part.rng.seed(part.seed)
    os.chdir(part.folder)
    return part


def _require_namespace(run: str, part: Part) -> None:
    """The network namespace must be the lab's own of this host, with nothing but loopback and the lab's devices."""
    try:
        own = Path("/proc/self/ns/net").samefile(f"/run/netns/nwlab-{run}-{part.host}")
    except OSError:
        own = False
    devices = {name for _, name in socket.if_nameindex()}
    if not own or not all(re.fullmatch(r"lo|eth0|a\d+", name) for name in devices):
        refuse(f"{part.name} runs outside a namespace of the lab, where its traffic has no business; it stops here")


def refuse(why: str) -> NoReturn:
    """End this program with a message and exit code 1."""
    sys.exit(why)
