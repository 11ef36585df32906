"""Who is told of new groups of alerts: the page, its API, and the thread that tells them."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from netwarden.errors import InputError, NetwardenError
from netwarden.notify_settings import WebhookSettings
from netwarden.portal.access.audit import record
from netwarden.portal.access.people import needs
from netwarden.portal.reference import faults
from netwarden.sections import first_fault
from netwarden.settings import Settings
from netwarden.sources.connect import open_lease
from netwarden.triage.notify import Notifier

router = APIRouter()
_END_S = 5.0  # how long a message on its way may hold up the end of the portal
_ADMIN = [Depends(needs("admin"))]


class Channel(BaseModel):
    """One that is told, and how it is doing."""

    model_config = ConfigDict(extra="forbid")
    name: str
    where: str = Field(description="Without what is secret in it")
    added: bool = Field(description="In the portal, not in the settings")
    waiting: int = Field(description="Groups that it is still to be told of")
    dropped: int = Field(description="Groups given up because too many waited")
    told_at: str = Field(description="Last message that it took; empty: none yet")
    fault: str = Field(description="Why it did not take the last one; empty: it did")
    tested_at: str = Field(description="Last test that it took; empty: none yet")


class Channels(BaseModel):
    """All channels, by name."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "channels": [
                    {
                        "name": "soc",
                        "where": "slack webhook at hooks.slack.com/services/T01/B02/…",
                        "added": False,
                        "waiting": 0,
                        "dropped": 0,
                        "told_at": "2026-11-21T10:15:00+00:00",
                        "fault": "",
                        "tested_at": "2026-11-20T15:44:00+00:00",
                    }
                ]
            }
        },
    )
    channels: list[Channel]


class NewWebhook(BaseModel):
    """A webhook to add."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "soc", "url": "https://hooks.example/netwarden", "shape": "plain", "secret": "s3cret"}
        },
    )
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    url: str = Field("", max_length=2000)
    shape: Literal["plain", "slack", "pagerduty"] = "plain"
    secret: str = Field("", max_length=200, description="Signs the body, or is PagerDuty's routing key")


class Told(BaseModel):
    """A test that was taken."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"told": "slack webhook at hooks.slack.com/services/T01/B02/…"}}
    )
    told: str


class Notifying:
    """The thread that tells the channels as long as the portal runs."""

    def __init__(self, settings: Settings, notifier: Notifier) -> None:
        self._settings = settings
        self._notifier = notifier
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="netwarden-notify", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, after the message that is on its way."""
        self._stop.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        with closing(open_lease(self._settings)) as lease:
            self._notifier.run(lease, self._stop)


@router.get("/notify", include_in_schema=False)
def notify_page(request: Request, told: str = "", fault: str = "") -> Response:
    """Channels, how they are doing, and a form for another."""
    return _page(request, told=told[:200], fault=fault[:500])


@router.get("/api/v1/notify", tags=["operate"], summary="Who is told of alerts", responses=faults(503))
def channels(request: Request) -> Channels:
    """The channels that are told of new groups of alerts, and how each is doing."""
    return Channels(channels=[Channel(**asdict(state)) for state in _notifier(request).states()])


@router.post("/notify", include_in_schema=False, dependencies=_ADMIN)
def add_page(
    request: Request,
    name: Annotated[str, Form(max_length=40)],
    url: Annotated[str, Form(max_length=2000)] = "",
    shape: Annotated[Literal["plain", "slack", "pagerduty"], Form()] = "plain",
    secret: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Add a webhook and try it at once; one that is refused stays in the form, but for its secret."""
    try:
        _add(request, name.strip(), url.strip(), shape, secret.strip())
    except NetwardenError as error:
        return _page(request, 422, fault=str(error), typed={"name": name, "url": url, "shape": shape})
    return test_page(request, name.strip())


@router.post(
    "/api/v1/notify",
    tags=["operate"],
    summary="Add a webhook",
    status_code=201,
    dependencies=_ADMIN,
    responses=faults(403, 422),
)
def add(request: Request, webhook: NewWebhook) -> Channels:
    """Add a webhook to those of the settings; it is told of groups from now on."""
    _add(request, webhook.name, webhook.url, webhook.shape, webhook.secret)
    return channels(request)


@router.post("/notify/{name}/test", include_in_schema=False, dependencies=_ADMIN)
def test_page(request: Request, name: str) -> Response:
    """Send a made-up group to a channel, now."""
    try:
        return _page_again(told=_try(request, name))
    except NetwardenError as error:
        return _page_again(fault=str(error))


@router.post(
    "/api/v1/notify/{name}/test",
    tags=["operate"],
    summary="Try a channel",
    dependencies=_ADMIN,
    responses=faults(403, 404, 502),
)
def test(request: Request, name: str) -> Told:
    """Send a made-up group to a channel, now, and say where it went."""
    return Told(told=_try(request, name))


@router.post("/notify/{name}/remove", include_in_schema=False, dependencies=_ADMIN)
def remove_page(request: Request, name: str) -> Response:
    """Remove a webhook that was added here."""
    _remove(request, name)
    return RedirectResponse("/notify", 303)


@router.delete(
    "/api/v1/notify/{name}",
    tags=["operate"],
    summary="Remove a webhook",
    dependencies=_ADMIN,
    responses=faults(403, 404),
)
def remove(request: Request, name: str) -> Channels:
    """Remove a webhook that was added in the portal."""
    _remove(request, name)
    return channels(request)


def _add(request: Request, name: str, url: str, shape: Literal["plain", "slack", "pagerduty"], secret: str) -> None:
    try:
        webhook = WebhookSettings(name=name, url=url, shape=shape, secret=SecretStr(secret))
    except ValidationError as error:
        raise InputError(f"this webhook cannot be added: {_in_words(error)}") from None
    _notifier(request).add(webhook)
    record(request, "add channel", f"channel {name}", shape)


def _try(request: Request, name: str) -> str:
    told = _notifier(request).test(name, str(request.base_url))
    record(request, "test channel", f"channel {name}", told)
    return told


def _remove(request: Request, name: str) -> None:
    _notifier(request).remove(name)
    record(request, "remove channel", f"channel {name}")


def _in_words(error: ValidationError) -> str:
    """What is wrong, for somebody who fills in a form."""
    if error.errors()[0]["loc"] == ("name",):
        return "its name is of lower-case letters, digits and hyphens, such as soc-1, and begins with no hyphen"
    return first_fault(error).removeprefix("Value error, ")


def _page(
    request: Request, status: int = 200, told: str = "", fault: str = "", typed: dict[str, str] | None = None
) -> Response:
    states = _notifier(request).states()
    moments = {at: datetime.fromisoformat(at) for each in states for at in (each.told_at, each.tested_at) if at}
    response: Response = request.app.state.pages.render(
        request, "notify.html", status, channels=states, moments=moments, told=told, fault=fault, typed=typed or {}
    )
    return response


def _page_again(told: str = "", fault: str = "") -> Response:
    return RedirectResponse(f"/notify?{urlencode({'fault': fault} if fault else {'told': told})}", 303)


def _notifier(request: Request) -> Notifier:
    notifier: Notifier = request.app.state.notifier
    return notifier
