"""How a role is: which of the things it needs answer, told to whoever asks at /health and /metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from netwarden import telemetry
from netwarden.errors import ConfigError
from netwarden.logs import get

_log = get(__name__)


@dataclass(frozen=True)
class _State:
    ok: bool
    since: datetime
    detail: str


class Health:
    """What a role knows of its components and of its work. Safe to share between threads."""

    def __init__(self, role: str) -> None:
        self.role = role
        self._lock = threading.Lock()
        self._components: dict[str, _State] = {}
        self._facts: dict[str, Any] = {}

    def report(self, component: str, fault: str = "") -> None:
        """Say that a component answers or, with a fault, that it does not. Changes are logged once."""
        with self._lock:
            before = self._components.get(component)
            changed = before is None or before.ok != (not fault)
            since = datetime.now(UTC) if before is None or changed else before.since
            self._components[component] = _State(not fault, since, fault)
        telemetry.STREAM_COMPONENT_UP.labels(self.role, component).set(not fault)
        if fault and changed:
            _log.warning("waiting", extra={"role": self.role, "for": component, "error": fault})
        elif changed and before is not None:
            _log.info("answers again", extra={"role": self.role, "component": component})

    def note(self, **facts: Any) -> None:
        """Keep facts to show, such as how many flows were scored."""
        with self._lock:
            self._facts.update(facts)

    def snapshot(self) -> dict[str, Any]:
        """All of it, as JSON has it; `status` is ok or degraded."""
        with self._lock:
            components = {
                name: {"ok": state.ok, "since": state.since.isoformat(), "detail": state.detail}
                for name, state in self._components.items()
            }
            healthy = all(state.ok for state in self._components.values())
            return {
                "role": self.role,
                "status": "ok" if healthy else "degraded",
                "components": components,
                **self._facts,
            }


@contextmanager
def served(health: Health, host: str, port: int, refresh: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Answers GET /health (503 while degraded) and /metrics while the block runs; gives the port.

    `refresh` is called before metrics are shown. Raises ConfigError where the port is taken.
    """
    handler = type("Handler", (_Handler,), {"health": health, "refresh": staticmethod(refresh)})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise ConfigError(
            f"{health.role}: {host}:{port} cannot be bound ({error.strerror}); does another {health.role} run here? "
            "Give each its own --port (0: any free one)"
        ) from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="health", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    health: Health
    refresh: Callable[[], None]
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/health":
            facts = self.health.snapshot()
            self._answer(200 if facts["status"] == "ok" else 503, "application/json", json.dumps(facts).encode())
        elif self.path == "/metrics":
            type(self).refresh()
            self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
        else:
            self._answer(404, "text/plain", b"there are /health and /metrics\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Scrapes are not news."""
