"""The server that runs the portal, and answers without pauses that a client would feel."""

from __future__ import annotations

import gc
import logging
import socket

import uvicorn
from fastapi import FastAPI

from netwarden import logs
from netwarden.portal.access.security import Access
from netwarden.portal.app import create_app
from netwarden.settings import Settings

_log = logs.get(__name__)
_GRACE_S = 3  # how long open pages may hold up the end of the server


def serve(settings: Settings, host: str = "", port: int = 0) -> None:
    """Run the portal until it is told to stop; where a token was made up, its login address is logged."""
    given = {name: value for name, value in (("host", host), ("port", port)) if value}
    portal = settings.portal.model_copy(update=given)
    app = create_app(settings.model_copy(update={"portal": portal}))
    server = server_of(app, portal.host, portal.port, grace_s=_GRACE_S)
    app.state.scored.follow()  # not only once somebody looks, since counts of a replay should be whole
    listener = listen(server)
    _announce(app.state.access, portal.host, listener.getsockname()[1])
    leave_to_stay()
    server.run([listener])


def server_of(app: FastAPI, host: str, port: int, grace_s: int) -> uvicorn.Server:
    """A server as the portal wants it, not yet running; port 0 is a free one."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Not uvicorn's own proxy handling and access log: they would trust loopback, and log login tokens.
    config = uvicorn.Config(
        app,
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=grace_s,
    )
    config.host, config.port = host, port
    return uvicorn.Server(config)


def listen(server: uvicorn.Server) -> socket.socket:
    """The server's socket, which takes connections from now on, before it runs."""
    listener = server.config.bind_socket()
    # Its connections inherit this. asyncio sets it only on sockets that it opened itself, and an answer in two pieces
    # would wait 40 ms for the other side to acknowledge the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.listen()
    return listener


def leave_to_stay() -> None:
    """Spare the garbage collector what was loaded: its walk through that takes 0.2 s, in which nobody is answered."""
    gc.collect()
    gc.freeze()


def _announce(access: Access, host: str, port: int) -> None:
    name = f"[{host}]" if ":" in host else host
    if access.local and not access.given:
        _log.info(f"portal at http://{name}:{port}/ (this machine only, no login)")
    elif access.given:
        _log.info(f"portal at http://{name}:{port}/ (log in with an account or NETWARDEN_TOKEN)")
    else:
        reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else name  # noqa: S104 - compared, not bound
        _log.warning(
            f"no NETWARDEN_TOKEN is set, so one was made up; log in at http://{reachable}:{port}/login?token={access.token}"
        )
