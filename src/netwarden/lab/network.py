"""A scenario's hosts as network namespaces whose only devices lead to the router; built, cleaned up, left by no one.

Every activity has a user and a TUN device of its own on its host. All devices of a host share its one address, so
nothing in the packets tells activities apart, but the router knows by the device who sent what.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from netwarden.errors import LabError
from netwarden.lab.play import RUNS

MTU = 1500
_PREFIX, _NETNS, _ETC = "nwlab-", Path("/run/netns"), Path("/etc/netns")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI, _CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
_LONG_QUEUE = 10_000  # packets that wait for the router; what it could not take is counted, see `refused`
_SYSCTLS = {
    # before any device is there: no router solicitations, no answers dropped for the device they come by
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/icmp_ratelimit": "0",  # so that scans of closed UDP ports end
    "ipv4/icmp_msgs_per_sec": "100000",
    "ipv4/ping_group_range": "0 2147483647",
    "ipv4/ip_unprivileged_port_start": "0",
}
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Space:
    """One host to be: its address, and the users whose packets go by a device of their own."""

    host: str
    address: str
    users: tuple[int, ...] = ()


@dataclass(frozen=True)
class Device:
    """The router's end of a device; `user` is None for the host's own (services, the kernel)."""

    fd: int
    host: str
    user: int | None


@dataclass
class Network:
    """Namespaces of one run and the descriptors of all their devices."""

    run: str
    folder: Path  # scratch of the run
    name_server: str = ""
    spaces: list[Space] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)

    def namespace(self, host: str) -> str:
        return f"{_PREFIX}{self.run}-{host}"

    def home(self, user: int) -> Path:
        """Scratch folder of a user."""
        return self.folder / f"u{user}"

    def inside(self, host: str, *command: str) -> list[str]:
        """The command line that runs `command` in a host's namespace."""
        return ["ip", "netns", "exec", self.namespace(host), *command]

    def kill(self, host: str, user: int | None = None) -> int:
        """Kill what still runs in a host's namespace, of one user or of all; gives how many there were."""
        killed = 0
        for pid in _pids(self.namespace(host)):
            if user is None or _user_of(pid) == user:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
        return killed

    def refused(self) -> int:
        """Packets that devices dropped because the router was too slow."""
        return sum(_in_namespace(self.namespace(space.host), _dropped) for space in self.spaces)

    def hand_over(self) -> None:
        """Close this process's descriptors, once the router has them."""
        for device in self.devices:
            os.close(device.fd)
        self.devices.clear()


def require_host() -> None:
    """Raise LabError that says what this machine lacks to make namespaces and devices."""
    lacking = []
    if os.geteuid() != 0:
        lacking.append("root")
    lacking += [f"the program {name}" for name in ("ip", "setpriv") if not shutil.which(name)]
    if not Path("/dev/net/tun").exists():
        lacking.append("the device /dev/net/tun")
    if not lacking and subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode:
        lacking.append("the right to make network namespaces")
    if lacking:
        raise LabError(f"the lab needs network namespaces of its own; this process lacks {' and '.join(lacking)}")


@contextmanager
def network(run: str, spaces: Sequence[Space], name_server: str = "") -> Iterator[Network]:
    """Namespaces with devices, up and addressed; all gone at the end, with every process in them."""
    with _locked():
        _remove_leftovers()
        folder = RUNS / run
        folder.mkdir(mode=0o711)
        alive = (folder / "lock").open("w")
        fcntl.flock(alive, fcntl.LOCK_EX)
    made = Network(run, folder, name_server)
    try:
        for space in spaces:
            _build(made, space, {other.host: other.address for other in spaces})
        yield made
    finally:
        made.hand_over()
        with _locked():
            _remove(run)
        alive.close()


def clean() -> list[str]:
    """Remove what killed runs left; gives their names. Runs under way are left alone. Raises LabError without root."""
    if os.geteuid() != 0:
        raise LabError("namespaces, and processes in them, are root's to remove; run it by sudo")
    with _locked():
        return _remove_leftovers()


def _build(made: Network, space: Space, names: dict[str, str]) -> None:
    name = made.namespace(space.host)
    _configure(made, space, names)
    _ip("netns", "add", name)
    made.spaces.append(space)
    made.devices += _in_namespace(name, lambda: _open_devices(space))
    _ip("-n", name, "-batch", "-", text="\n".join(_addressing(space)))


def _configure(made: Network, space: Space, names: dict[str, str]) -> None:
    """Files that programs in the namespace find in /etc: every host by name, and a name for each user."""
    folder = _ETC / made.namespace(space.host)
    folder.mkdir(parents=True)
    lines = ["127.0.0.1 localhost", *(f"{address} {host} {host}.lab" for host, address in names.items())]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    server = f"nameserver {made.name_server}\n" if made.name_server else ""
    (folder / "resolv.conf").write_text(f"{server}search lab\noptions timeout:1 attempts:2\n")
    users = "".join(f"lab-{user}:x:{user}:{user}::{made.home(user)}:/bin/sh\n" for user in space.users)
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + users)


def _open_devices(space: Space) -> list[Device]:
    for key, value in _SYSCTLS.items():
        with suppress(FileNotFoundError):  # some are global in older kernels, or IPv6 is not there at all
            Path("/proc/sys/net", key).write_text(value)
    users = (None, *space.users)
    return [Device(_open_tun(_name(nth)), space.host, user) for nth, user in enumerate(users)]


def _name(nth: int) -> str:
    return f"a{nth}" if nth else "eth0"


def _open_tun(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return fd


def _addressing(space: Space) -> Iterator[str]:
    yield "link set lo up"
    for nth, user in enumerate((None, *space.users)):
        device = _name(nth)
        yield f"link set {device} mtu {MTU} txqueuelen {_LONG_QUEUE}"
        yield f"link set {device} up"
        yield f"address add {space.address}/32 dev {device}"
        table = f" table {100 + nth}" if nth else ""
        yield f"route add default dev {device} src {space.address}{table}"
        if user is not None:
            yield f"rule add uidrange {user}-{user} lookup {100 + nth}"


# --- leftovers ------------------------------------------------------------------------------------------------


def _remove_leftovers() -> list[str]:
    runs = {path.name for path in RUNS.iterdir() if path.is_dir()}
    spaces = [path.name for path in _NETNS.glob(f"{_PREFIX}*")] if _NETNS.is_dir() else []
    runs |= {name.removeprefix(_PREFIX).split("-")[0] for name in spaces}
    gone = sorted(run for run in runs if not _is_alive(run))
    for run in gone:
        _remove(run)
    return gone


def _is_alive(run: str) -> bool:
    """Whether the process that made a run still holds its lock; the kernel lets go of it even after kill -9."""
    try:
        with (RUNS / run / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _remove(run: str) -> None:
    names = [path.name for path in _NETNS.glob(f"{_PREFIX}{run}-*")] if _NETNS.is_dir() else []
    for name in names:
        for _ in range(50):
            pids = _pids(name)
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if not pids:
                break
            time.sleep(0.02)
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    for folder in _ETC.glob(f"{_PREFIX}{run}-*") if _ETC.is_dir() else ():
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(RUNS / run, ignore_errors=True)


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time makes and removes runs."""
    RUNS.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (RUNS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --- namespaces -----------------------------------------------------------------------------------------------


def _in_namespace(name: str, work: Callable[[], _Result]) -> _Result:
    """What `work` gives in a thread that has entered the namespace; the thread ends with it."""
    results: list[_Result] = []
    faults: list[OSError] = []

    def enter() -> None:
        try:
            with (_NETNS / name).open() as space:
                if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"namespace {name} cannot be entered")
            results.append(work())
        except OSError as error:
            faults.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if faults:
        raise LabError(f"{name}: {faults[0]}; is the machine short of rights or devices?") from None
    return results[0]


def _dropped() -> int:
    """Packets that the devices of the calling thread's namespace dropped on their way out."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return sum(int(re.split(r"[:\s]+", line.strip())[12]) for line in lines)


def _pids(name: str) -> list[int]:
    shown = subprocess.run(["ip", "netns", "pids", name], check=False, capture_output=True, text=True).stdout
    return [int(pid) for pid in shown.split()]


def _user_of(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return int(status.partition("Uid:")[2].split()[0])


def _ip(*words: str, text: str = "") -> None:
    done = subprocess.run(["ip", *words], input=text, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(words)} failed: {done.stderr.strip()}")
