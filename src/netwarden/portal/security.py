"""Who may ask: Host header, login, cross-site requests and security headers, before any route runs."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netwarden.logs import get
from netwarden.portal.rendering import accepts_html, problem
from netwarden.settings import Settings

_log = get(__name__)

COOKIE = "netwarden"
_OPEN_PATHS = ("/health", "/ready", "/login")
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
    """Who may come in. `given`: the token was set, not made up here. `local`: bound to this machine alone."""

    token: str
    given: bool
    local: bool
    hosts: frozenset[str]
    open_metrics: bool

    def session(self) -> str:
        """What the cookie of a logged-in browser holds; the token cannot be had from it."""
        return hmac.new(self.token.encode(), b"netwarden session", hashlib.sha256).hexdigest()

    def admits(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(token.encode(), self.token.encode())


def access_for(settings: Settings) -> Access:
    """Access rules of a deployment; without a token set, one is made up."""
    portal = settings.portal
    given = settings.token.get_secret_value() if settings.token else ""
    names = {"localhost", socket.gethostname(), portal.host, *portal.allowed_hosts}
    return Access(
        token=given or secrets.token_urlsafe(32),
        given=bool(given),
        local=_is_loopback(portal.host),
        hosts=frozenset(name.lower() for name in names),
        open_metrics=portal.open_metrics,
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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith(("/static/", "/docs/")):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        request = Request(scope, receive)
        refusal = _refusal(request, self._access)
        if refusal is not None and not self._access.given:
            self._tell_login(request)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _tell_login(self, request: Request) -> None:
        """Log the login address once: `uvicorn app:app` may bind where the settings do not say."""
        if not self._told:
            self._told = True
            _log.warning(f"login needed; the address is {request.url.scheme}://HOST/login?token={self._access.token}")


def _refusal(request: Request, access: Access) -> Response | None:
    host = _host_name(request.headers.get("host", ""))
    if not _is_ours(host, access.hosts):
        return problem(
            request, 400, f"host {host!r} is not served here; add it to portal.allowed_hosts in the settings"
        )
    if _is_cross_site(request):
        return problem(request, 403, "this request comes from another site; open the portal itself and start it there")
    if _is_open(request, access) or _is_logged_in(request, access):
        return None
    if accepts_html(request) and request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target)}", 303)
    return problem(
        request, 401, "log in, or send the token as `Authorization: Bearer …`", {"WWW-Authenticate": "Bearer"}
    )


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_ours(host: str, hosts: frozenset[str]) -> bool:
    """Names must be known: a stranger's name that resolves to us is DNS rebinding. A bare address cannot be rebound."""
    return host in hosts or _as_address(host) is not None


def _is_cross_site(request: Request) -> bool:
    """Whether another site's page makes the browser send a request that would do something."""
    if request.method in _SAFE_METHODS and not starts_work(request.url.path):
        return False
    if "prefetch" in request.headers.get("sec-purpose", request.headers.get("purpose", "")):
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    # Browsers too old for Sec-Fetch-Site, and those on plain http beyond this machine.
    origin = request.headers.get("origin") or request.headers.get("referer")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _is_open(request: Request, access: Access) -> bool:
    path = request.url.path
    if path in _OPEN_PATHS or path.startswith("/static/") or (path == "/metrics" and access.open_metrics):
        return True
    return access.local and not access.given and _comes_from_this_machine(request)


def _comes_from_this_machine(request: Request) -> bool:
    """Both ends are loopback, and no proxy here speaks for somebody elsewhere."""
    server = request.scope.get("server") or ("", None)
    if request.client is None or not _is_loopback(request.client.host) or not _is_loopback(server[0]):
        return False
    return not any(name in request.headers for name in _FORWARDED)


def _is_logged_in(request: Request, access: Access) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and access.admits(token.strip()):
        return True
    return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), access.session().encode())


def _is_loopback(host: str) -> bool:
    address = _as_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
