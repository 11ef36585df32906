"""How answers look: pages for browsers, one JSON error shape (RFC 9457) for programs."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import HTTPConnection

from netwarden import __version__
from netwarden.portal.access.people import person
from netwarden.portal.alerts.known_networks import KnownNetworks
from netwarden.portal.charts import spark
from netwarden.portal.navigation import PLACES
from netwarden.portal.plotly import NAME as PLOTLY
from netwarden.portal.plotly import plotly_bundle
from netwarden.settings import Settings

_REPOSITORY = Path(__file__).parents[3]
# Beside times, and in the heads of their columns: portal.js puts in the zone that whoever looks has chosen.
_ZONE = Markup('<span class="zone">UTC</span>')


class Pages:
    """Renders the templates of a workspace, or of the repository this package lies in."""

    def __init__(self, settings: Settings) -> None:
        self.static = shipped_folder(settings, "static")
        self.known = KnownNetworks(settings.networks)
        self._templates = Environment(
            loader=FileSystemLoader(shipped_folder(settings, "templates")),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "count": _count,
            "percent": _percent,
            "when": _when,
            "plain_when": _plain_when,
            "second": _second,
            "clock": _clock,
            "day": _day,
            "ago": _ago,
            "size": _size,
            "span": _span,
            "spark": spark,
        }
        self._templates.globals |= {"version": __version__, "asset": self._asset, "places": PLACES, "zone": _ZONE}
        self._templates.globals |= {"known": self.known}

    def render(self, request: HTTPConnection, name: str, status: int = 200, **facts: Any) -> HTMLResponse:
        """The page of a template."""
        facts |= {"request": request, "path": request.url.path, "who": person(request)}
        text = self._templates.get_template(name).render(facts)
        return HTMLResponse(text, status)

    def _asset(self, name: str) -> str:
        """Address of a static file that changes with its content."""
        path = plotly_bundle() if name == PLOTLY else self.static / name
        return f"/static/{name}?v={_digest(path, path.stat().st_mtime_ns)}"


def shipped_folder(settings: Settings, name: str) -> Path:
    """`templates` or `static`: of the workspace (an image copies them there), else beside the source."""
    own = settings.workspace / name
    return own if own.is_dir() else _REPOSITORY / name


def problem(
    request: HTTPConnection, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """An error: a page where the client asks for one, else problem details."""
    title = HTTPStatus(status).phrase
    if accepts_html(request):
        response: Response = request.app.state.pages.render(
            request, "error.html", status, title=title, detail=detail, status_code=status, more=more
        )
        response.headers.update(headers or {})
        return response
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def accepts_html(request: HTTPConnection) -> bool:
    """Whether the client asks for a page by name; `*/*` does not."""
    return _quality(request, "text/html") > 0


def prefers_json(request: Request) -> bool:
    """Whether the client asks for JSON by name, and for pages less."""
    return _quality(request, "application/json") > _quality(request, "text/html")


def attachment(name: str) -> dict[str, str]:
    """Headers of a download."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def event(value: Any) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(value)}\n\n".encode()


def _quality(request: HTTPConnection, kind: str) -> float:
    for part in request.headers.get("accept", "").split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == kind:
            weights = [piece[2:] for piece in parameters if piece.startswith("q=")]
            try:
                return float(weights[0]) if weights else 1.0
            except ValueError:
                return 0.0
    return 0.0


@lru_cache(maxsize=64)
def _digest(path: Path, _stamp: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


def _count(value: float) -> str:
    return f"{value:,}".replace(",", "\u2009")  # a thin space reads the same in every country


def _percent(value: float, digits: int = 1) -> str:
    return f"{value * 100:.{digits}f}\u2009%"


def _when(value: datetime) -> Markup:
    """A moment to the second, in UTC until portal.js shows it in the chosen zone."""
    return _time(value, _plain_when(value))


def _second(value: datetime) -> Markup:
    return _time(value, value.astimezone(UTC).strftime("%H:%M:%S"), "second")


def _clock(value: datetime) -> Markup:
    return _time(value, value.astimezone(UTC).strftime("%H:%M"), "clock")


def _day(value: datetime) -> Markup:
    return _time(value, value.astimezone(UTC).strftime("%m-%d"), "day")


def _ago(value: datetime) -> Markup:
    """How long ago a moment is; portal.js keeps it true."""
    return _time(value, _passed((datetime.now(UTC) - value).total_seconds()), "ago")


def _time(value: datetime, text: str, form: str = "full") -> Markup:
    moment = value.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(moment, form, text)


def _plain_when(value: datetime) -> str:
    """A moment in UTC where there may be no element, as in an attribute."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _passed(seconds: float) -> str:
    for name, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}\u2009{name} ago"
    return "just now"


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f}\u2009{unit}" if unit == "B" else f"{value:.1f}\u2009{unit}"
        value /= 1000
    return f"{value:.1f}\u2009GB"


def _span(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f}\u2009ms"
    if seconds < 60:
        return f"{seconds:.1f}\u2009s"
    return f"{int(seconds) // 60}\u2009min {int(seconds) % 60}\u2009s"
