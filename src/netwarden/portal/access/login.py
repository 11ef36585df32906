"""Logging in and out: a name and a password, or the token; the login is a signed cookie."""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import urlsplit

import anyio
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from netwarden.logs import get
from netwarden.portal.access.accounts import SESSION_S
from netwarden.portal.access.audit import record
from netwarden.portal.access.limits import limited
from netwarden.portal.access.people import Person
from netwarden.portal.access.security import COOKIE, Access

router = APIRouter()
_log = get(__name__)
_GUESS_DELAY_S = 0.5  # what a wrong token costs whoever guesses


@router.get("/login", include_in_schema=False)
async def login_page(request: Request, token: str = "", next: str = "/") -> Response:
    """Login form; an address that carries the token logs in at once."""
    if not token:
        return _form(request, next)
    await limited("login")(request)
    return await _log_in(request, "", token, next)


@router.post("/login", include_in_schema=False, dependencies=[Depends(limited("login"))])
async def log_in(
    request: Request,
    name: Annotated[str, Form(max_length=64)] = "",
    token: Annotated[str, Form(max_length=1000)] = "",
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Log in with a name and a password, or with a token."""
    return await _log_in(request, name.strip(), token, next)


@router.post("/logout", include_in_schema=False)
def log_out() -> Response:
    """Forget this browser."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE)
    return response


async def _log_in(request: Request, name: str, secret: str, target: str) -> Response:
    access: Access = request.app.state.access
    who = await run_in_threadpool(_recognised, access, name, secret)
    if who is None:
        _log.warning("login refused", extra={"client": request.client.host if request.client else "unknown"})
        await anyio.sleep(_GUESS_DELAY_S)
        fault = "Name and password do not fit." if name else "This is not the token."
        return _form(request, target, fault, 403, name)
    request.state.person = who
    await run_in_threadpool(record, request, "log in", "portal")
    response = RedirectResponse(_within(target), 303)
    # Strict: a link on another site can then not act in the name of whoever is logged in here.
    response.set_cookie(
        COOKIE,
        access.accounts.session(who, time.time()),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _recognised(access: Access, name: str, secret: str) -> Person | None:
    if name:
        return access.accounts.by_password(name, secret)
    return access.accounts.by_token(secret.strip())


def _form(request: Request, target: str, fault: str = "", status: int = 200, name: str = "") -> Response:
    response: Response = request.app.state.pages.render(
        request,
        "login.html",
        status,
        target=_within(target),
        fault=fault,
        named=name,
        people=bool(request.app.state.settings.portal.people),
    )
    return response


def _within(target: str) -> str:
    """The address if it is one of ours, else the first page."""
    parts = urlsplit(target)
    ours = not parts.scheme and not parts.netloc and target.startswith("/") and "\\" not in target
    return target if ours and not target.startswith("//") else "/"
