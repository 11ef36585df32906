"""Who may ask: Host header, login, role, cross-site requests and security headers, before any route runs."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from netwarden.logs import get
from netwarden.portal.access.accounts import Accounts, accounts_of
from netwarden.portal.access.people import NOBODY, OWNER, Person
from netwarden.portal.rendering import accepts_html, problem
from netwarden.settings import Settings

_log = get(__name__)

COOKIE = "netwarden"
_OPEN_PATHS = ("/health", "/ready", "/login", "/logout")
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_STARTS_WORK = ("/train",)
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Access:
    """Who may come in. `given`: a token or accounts were set, none made up. `local`: bound to this machine alone."""

    token: str
    given: bool
    local: bool
    hosts: frozenset[str]
    open_metrics: bool
    accounts: Accounts


@dataclass(frozen=True)
class _Refusal:
    status: int
    detail: str


def access_for(settings: Settings) -> Access:
    """Access rules of a deployment; without a token and accounts, a token is made up. Raises ConfigError."""
    portal = settings.portal
    given = settings.token.get_secret_value() if settings.token else ""
    token = given or secrets.token_urlsafe(32)
    names = {"localhost", socket.gethostname(), portal.host, *portal.allowed_hosts}
    return Access(
        token=token,
        given=bool(given or portal.people),
        local=_is_loopback(portal.host),
        hosts=frozenset(name.lower() for name in names),
        open_metrics=portal.open_metrics,
        accounts=accounts_of(token, portal.people),
    )


def starts_work(path: str) -> bool:
    """Whether GET does something there."""
    return path.rstrip("/") in _STARTS_WORK


class Gatekeeper:
    """ASGI middleware that lets through what `Access` allows and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith(("/static/", "/docs/")):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        connection = HTTPConnection(scope)
        who = _whoever(connection, self._access)
        scope.setdefault("state", {})["person"] = who or NOBODY
        refusal = _refusal(connection, self._access, who)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
            return
        if not self._access.given:
            self._tell_login(connection)
        answer = _answer(connection, refusal)
        if scope["type"] == "http":
            await answer(scope, receive, send_guarded)
        else:
            await WebSocket(scope, receive, send_guarded).send_denial_response(answer)

    def _tell_login(self, connection: HTTPConnection) -> None:
        """Log the login address once: `uvicorn app:app` may bind where the settings do not say."""
        if not self._told:
            self._told = True
            scheme = connection.url.scheme.replace("ws", "http")
            _log.warning(f"login needed; the address is {scheme}://HOST/login?token={self._access.token}")


def _refusal(connection: HTTPConnection, access: Access, who: Person | None) -> _Refusal | None:
    host = _host_name(connection.headers.get("host", ""))
    if not _is_ours(host, access.hosts):
        return _Refusal(400, f"host {host!r} is not served here; add it to portal.allowed_hosts in the settings")
    if _is_cross_site(connection):
        return _Refusal(403, "this request comes from another site; open the portal itself and start it there")
    if _is_open(connection, access):
        return None
    if who is None:
        return _Refusal(401, "log in, or send the token as `Authorization: Bearer …`")
    if not who.may("analyst") and _does_something(connection):
        return _Refusal(403, f"this needs the role analyst or admin; {who.name} is {who.role}")
    return None


def _answer(connection: HTTPConnection, refusal: _Refusal) -> Response:
    if refusal.status != 401:
        return problem(connection, refusal.status, refusal.detail)
    if connection.scope.get("method") == "GET" and accepts_html(connection):
        target = connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
        return RedirectResponse(f"/login?next={quote(target)}", 303)
    return problem(connection, 401, refusal.detail, {"WWW-Authenticate": "Bearer"})


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    """Names must be known: a stranger's name that resolves to us is DNS rebinding. A bare address cannot be rebound."""
    return host in hosts or _as_address(host) is not None


def _does_something(connection: HTTPConnection) -> bool:
    if connection.scope["type"] == "websocket":
        return False
    return connection.scope["method"] not in _SAFE_METHODS or starts_work(connection.url.path)


def _is_cross_site(connection: HTTPConnection) -> bool:
    """Whether another site's page makes the browser send a request that would do something, or tell that page."""
    # A WebSocket obeys no same-origin policy: whoever opens one reads what comes.
    if connection.scope["type"] == "http" and not _does_something(connection):
        return False
    if "prefetch" in connection.headers.get("sec-purpose", connection.headers.get("purpose", "")):
        return True
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Browsers too old for Sec-Fetch-Site, and those on plain http beyond this machine.
    origin = connection.headers.get("origin") or connection.headers.get("referer")
    return origin is not None and urlsplit(origin).netloc != connection.headers.get("host")


def _is_open(connection: HTTPConnection, access: Access) -> bool:
    path = connection.url.path
    return path in _OPEN_PATHS or path.startswith("/static/") or (path == "/metrics" and access.open_metrics)


def _whoever(connection: HTTPConnection, access: Access) -> Person | None:
    """Who sends this: by token, by login, or by being at this machine where no login is needed."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (bearer := access.accounts.by_token(token.strip())):
        return bearer
    cookie = connection.cookies.get(COOKIE, "")
    if cookie and (logged_in := access.accounts.by_session(cookie, time.time())):
        return logged_in
    return OWNER if access.local and not access.given and _comes_from_this_machine(connection) else None


def _comes_from_this_machine(connection: HTTPConnection) -> bool:
    """Both ends are loopback, and no proxy here speaks for somebody elsewhere."""
    server = connection.scope.get("server") or ("", None)
    if connection.client is None or not _is_loopback(connection.client.host) or not _is_loopback(server[0]):
        return False
    return not any(name in connection.headers for name in _FORWARDED)


def _is_loopback(host: str) -> bool:
    address = _as_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
