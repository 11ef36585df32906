"""Plotly's bundle, as its installed Python package brings it along: nothing comes from a CDN."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from netwarden.errors import NotFoundError

router = APIRouter()
NAME = "plotly.js"
_YEAR = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


def plotly_bundle() -> Path:
    """Where the bundle lies. Raises NotFoundError where the package is not installed."""
    package = find_spec("plotly")  # found, not imported: that takes a second
    if package is None or package.origin is None:
        raise NotFoundError("the package plotly is not installed, and charts need its bundle")
    return Path(package.origin).parent / "package_data" / "plotly.min.js"


@router.get(f"/static/{NAME}", include_in_schema=False)
def plotly(request: Request) -> Response:
    """The bundle; its address carries its version, so browsers keep it."""
    path = plotly_bundle()
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(path, media_type="text/javascript", headers=_YEAR)
    return Response(_compressed(path), media_type="text/javascript", headers=_YEAR | {"Content-Encoding": "gzip"})


@lru_cache(maxsize=1)
def _compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)
