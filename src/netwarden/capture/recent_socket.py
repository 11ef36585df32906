"""Recent packets for whoever may ask: a Unix socket that gives the packets of a flow as a pcap, by the flow's id.

One request a connection: the id and a line end. The answer is a line of JSON, `{"packets": …, "bytes": …}` and the pcap
behind it, or `{"error": …}`. Packets are secrets, so only the owner of the socket (and root) may connect.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from netwarden import logs
from netwarden.capture.extract import written_whole
from netwarden.capture.recent import RecentPackets
from netwarden.errors import InputError

_ID = re.compile(r"[0-9a-f]{1,32}")
_TIMEOUT_S = 30.0


@contextmanager
def packets_served(recent: RecentPackets, path: Path) -> Iterator[None]:
    """Answers requests at `path` from a thread of its own while the block runs; the socket is gone afterwards.

    Raises InputError where something else is at `path`.
    """
    _make_way(path)
    try:
        server = _Server(str(path), recent)
    except OSError as error:
        raise InputError(f"no socket can be made at {path}: {error.strerror or error}") from None
    thread = threading.Thread(target=server.serve_forever, name="recent packets", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        path.unlink(missing_ok=True)


def fetch_packets(path: Path, flow: str, target: Path) -> int:
    """Write the packets of a flow that the meter behind the socket still has to a pcap; returns how many.

    Raises InputError where none answers, or with what it answers.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_TIMEOUT_S)
        try:
            asking.connect(str(path))
            asking.sendall(f"{flow}\n".encode())
            with asking.makefile("rb") as answer:
                told = json.loads(answer.readline() or '{"error": "it stopped before it answered"}')
                if "error" in told:
                    raise InputError(str(told["error"]))
                return _receive(answer, told, target)
        except (OSError, ValueError) as error:
            raise InputError(f"no meter gives packets at {path}: {error}; does it run with --recent-packets?") from None


def _receive(answer: IO[bytes], told: dict[str, int], target: Path) -> int:
    with written_whole(target) as file:
        shutil.copyfileobj(answer, file)
        if file.tell() != told["bytes"]:
            raise InputError(f"the meter stopped after {file.tell():,} of {told['bytes']:,} bytes")
    return told["packets"]


def _make_way(path: Path) -> None:
    """Remove the socket of a meter that was killed; anything else stays and is an error."""
    if not path.exists():
        return
    if not path.is_socket():
        raise InputError(f"{path} is there and is no socket; choose another path")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise InputError(f"another meter answers at {path}; choose another path")
    path.unlink()


class _Server(socketserver.UnixStreamServer):
    """One request after the other: nobody waits longer than a request may take."""

    def __init__(self, path: str, recent: RecentPackets) -> None:
        super().__init__(path, _Request, bind_and_activate=False)
        self.recent = recent
        try:
            self.server_bind()
            Path(path).chmod(0o600)  # before anyone can connect
            self.server_activate()
        except OSError:
            self.server_close()
            raise

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as socketserver calls it
        logs.get(__name__).exception("a request for packets failed")


class _Request(socketserver.StreamRequestHandler):
    timeout = _TIMEOUT_S
    server: _Server

    def handle(self) -> None:
        flow = self.rfile.readline(64).decode("ascii", "replace").strip()
        with tempfile.TemporaryDirectory(prefix="netwarden-") as folder:
            found = Path(folder) / "flow.pcap"
            try:
                if not _ID.fullmatch(flow):
                    raise InputError(f"{flow!r} is no flow id: those are up to 32 hexadecimal digits")
                told: dict[str, object] = {"packets": self.server.recent.save(flow, found)}
            except InputError as error:
                self._tell({"error": str(error)})
                return
            self._tell({**told, "bytes": found.stat().st_size})
            with found.open("rb") as file:
                shutil.copyfileobj(file, self.wfile)

    def _tell(self, answer: dict[str, object]) -> None:
        self.wfile.write(json.dumps(answer).encode() + b"\n")
