"""Carry out the Dockerfile's steps in order in a clean folder, then start the portal: a build test without an engine.

What stands for what:
- `/app`, `/opt` and `/var/lib/netwarden` are folders of the sandbox; their names are replaced wherever a step says
  them. Each stage begins with empty ones, at the same place, so that scripts of a virtual environment find their
  interpreter as in an image.
- The base image is this machine's Python 3.11 and the few programs of a slim Debian: PATH holds nothing else, so a
  step that needs a compiler, git or curl fails here as it would there.
- The build context is what git tracks, less what .dockerignore names.
- A cache mount is this machine's cache of uv.
- `useradd` does nothing. Where this runs as root with a Python that other users can read, `chown` is real and the
  portal runs as the image's user; elsewhere both are left out, which the closing line says.
- Only the variables that the Dockerfile sets, and this machine's certificates and proxy, reach a step.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SLIM_DEBIAN = (
    "basename bash cat chmod cp cut date dirname echo env find grep gzip head id ln ls mkdir mktemp mv nproc "
    "readlink rm rmdir sed sh sleep sort stat tail tar test touch tr true uname wc xargs"
)
NETWORK = re.compile(
    r"(SSL_CERT_(FILE|DIR)|PIP_(CERT|INDEX_URL)|REQUESTS_CA_BUNDLE|UV_DEFAULT_INDEX|(https?|no)_proxy)", re.I
)
SILENT = {"ARG", "LABEL", "EXPOSE", "VOLUME"}  # arguments are used by FROM and LABEL alone


def main() -> None:
    """Replay, serve, check; the exit code is 0 only where the portal answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the sandbox here (must not exist)")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory(prefix="netwarden-image-") as scratch:
        Path(scratch).chmod(0o755)  # the image's user has to get in
        box = Sandbox(folder or Path(scratch, "box"), base_python())
        for step in parse(CHECKOUT / "Dockerfile"):
            started = time.monotonic()
            box.carry_out(step)
            print(f"{time.monotonic() - started:6.1f} s  {step.keyword} {step.argument[:90]}", flush=True)
        print(check_portal(box))


# --- The Dockerfile -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    keyword: str
    argument: str


def parse(path: Path) -> list[Step]:
    """Steps of a Dockerfile, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    found = (line.strip().split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [Step(keyword.upper(), re.sub(r"\s+", " ", argument)) for keyword, argument in found]


# --- The sandbox --------------------------------------------------------------------------------------------


@dataclass
class Sandbox:
    """The file system and environment that the steps so far have made."""

    folder: Path
    python: Path
    stages: dict[str, Path] = field(default_factory=dict)
    stage: str = ""
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: int = 0
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def drops_root(self) -> bool:
        """Whether steps can run as another user, who must get at the interpreter and the sandbox."""
        way = [*self.python.resolve().parents, *self.root.resolve().parents]
        return os.geteuid() == 0 and all(folder.stat().st_mode & 0o001 for folder in way if folder.exists())

    def carry_out(self, step: Step) -> None:
        if step.keyword in SILENT:
            return
        handler: Callable[[str], None] | None = getattr(self, f"_{step.keyword.lower()}", None)
        if handler is None:
            raise SystemExit(
                f"Dockerfile: {step.keyword} is not known here; teach deploy/replay_dockerfile.py about it"
            )
        handler(step.argument)

    def start(self, command: list[str], **extra: str) -> subprocess.Popen[bytes]:
        """A process as the container would have it."""
        as_user = {"user": self.user, "group": self.user, "extra_groups": []} if self.user and self.drops_root else {}
        words = [self.mapped(word) for word in command]
        program = shutil.which(words[0], path=self.env["PATH"])
        if program is None:
            raise SystemExit(f"{words[0]} is not in the image; PATH is {self.env['PATH']}")
        folder = self.mapped(self.workdir)
        return subprocess.Popen([program, *words[1:]], cwd=folder, env={**self.env, **extra}, **as_user)  # type: ignore[call-overload,no-any-return]  # the options above are typed one by one only

    def mapped(self, text: str) -> str:
        """Text with the image's absolute paths replaced by the sandbox's."""
        cached = text.replace("/root/.cache/uv", str(Path.home() / ".cache" / "uv"))
        return re.sub(r"(?<![\w./-])/(app|opt|var/lib/netwarden)\b", lambda match: f"{self.root}/{match[1]}", cached)

    def _from(self, argument: str) -> None:
        if self.root.exists():
            self.stages[self.stage] = self.root.rename(self.folder / f"stage-{self.stage}")
        self.stage = argument.rpartition(" ")[2] if " AS " in argument else "final"
        for folder in (self.root / "app", self.root / "opt", self.root / "tmp", self.root / "home"):
            folder.mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        self.workdir, self.user = "/app", 0
        network = {name: value for name, value in os.environ.items() if NETWORK.fullmatch(name)}
        self.env = {
            **network,
            "PATH": str(self._slim_programs()),
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "LANG": "C.UTF-8",
        }

    def _slim_programs(self) -> Path:
        """Folder of programs that a slim Python image has; made anew for each stage."""
        folder = self.root / "bin"
        folder.mkdir()
        for name in SLIM_DEBIAN.split():
            (folder / name).symlink_to(shutil.which(name) or "/bin/false")
        _script(folder / "python", f'exec {self.python} "$@"')
        _script(folder / "useradd", "exit 0")
        _script(folder / "chown", f'exec {shutil.which("chown")} "$@"' if self.drops_root else "exit 0")
        return folder

    def _run(self, argument: str) -> None:
        command = re.sub(r"^--mount=type=cache,\S+ ", "", argument)
        if self.start(["bash", "-euo", "pipefail", "-c", command]).wait() != 0:
            raise SystemExit(f"Dockerfile: RUN {argument} failed")

    def _shell(self, argument: str) -> None:
        if json.loads(argument)[0] != "/bin/bash":
            raise SystemExit("Dockerfile: SHELL other than bash is not known here")

    def _env(self, argument: str) -> None:
        for pair in shlex.split(argument):
            name, value = pair.split("=", 1)
            self.env[name] = self.mapped(value).replace("$PATH", self.env["PATH"])

    def _workdir(self, argument: str) -> None:
        self.workdir = argument
        Path(self.mapped(argument)).mkdir(parents=True, exist_ok=True)

    def _user(self, argument: str) -> None:
        self.user = int(argument)

    def _cmd(self, argument: str) -> None:
        self.command = json.loads(argument)

    def _healthcheck(self, argument: str) -> None:
        self.health = json.loads(argument.split("CMD ", 1)[1])

    def _copy(self, argument: str) -> None:
        words = argument.split()
        options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        into = Path(self.mapped(target if target.startswith("/") else f"{self.workdir}/{target}"))
        for source in sources:
            if "from" in options:
                _copy_tree(self.stages[options["from"]] / source.lstrip("/"), into)
            else:
                self._copy_from_context(source, into / source if target.endswith("/") else into)

    def _copy_from_context(self, source: str, target: Path) -> None:
        files = [name for name in _context() if name == source or name.startswith(f"{source}/")]
        if not files:
            raise SystemExit(f"Dockerfile: COPY {source}: not tracked by git, or left out by .dockerignore")
        for name in files:
            place = target / Path(name).relative_to(source) if name != source else target
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, place)


def _context() -> list[str]:
    """Files that the build may copy."""
    tracked = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout
    return [name for name in tracked.splitlines() if in_context(name)]


def in_context(name: str) -> bool:
    """Whether .dockerignore lets a file into the build; of its patterns the last that matches decides."""
    parts = name.split("/")
    ways = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]  # a pattern may name a folder above the file
    kept = True
    for pattern in (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        anywhere, bare = pattern.startswith("**/"), pattern.removeprefix("!").removeprefix("**/")
        if any(fnmatch(way, bare) or (anywhere and fnmatch(Path(way).name, bare)) for way in ways):
            kept = pattern.startswith("!")
    return kept


def _copy_tree(source: Path, target: Path) -> None:
    """Hard links: the stage that is copied from never runs again."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, copy_function=os.link)


def _script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def base_python() -> Path:
    """A Python 3.11 that can make environments; one that every user can read, if there is one."""
    for candidate in (
        "/usr/local/bin/python3.11",
        "/usr/bin/python3.11",
        getattr(sys, "_base_executable", sys.executable),
    ):
        probe = [candidate, "-c", "import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))"]
        if Path(candidate).exists() and subprocess.run(probe, check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return Path(candidate)
    raise SystemExit("no Python 3.11 with ensurepip on this machine; on Debian: apt-get install python3-venv")


# --- The check ----------------------------------------------------------------------------------------------


def check_portal(box: Sandbox, wait_s: float = 90.0) -> str:
    """One line on the portal that the image's command started; it is stopped again."""
    port = _free_port()
    started = time.monotonic()
    portal = box.start(box.command, NETWARDEN_PORT=str(port))
    try:
        answer = _health(f"http://127.0.0.1:{port}/health", portal, started + wait_s)
        took = time.monotonic() - started
        if box.start(box.health, NETWARDEN_PORT=str(port)).wait(timeout=30) != 0:
            raise SystemExit("HEALTHCHECK fails although /health answers")
    finally:
        portal.terminate()
        portal.wait(timeout=30)
    who = f"user {box.user}" if box.drops_root else "this user, not the image's"
    return f"portal answered /health after {took:.1f} s as {who}, and HEALTHCHECK agrees: {answer}"


def _health(address: str, portal: subprocess.Popen[bytes], deadline: float) -> str:
    while portal.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=2) as reply:  # noqa: S310 - loopback, our own
                return str(reply.read(200).decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise SystemExit(f"the portal did not answer {address}; exit code {portal.poll()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
