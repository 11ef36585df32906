"""Whether what the portal rests on answers: store, registry, stream, tracking; and what to do where it does not."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import NetwardenError
from netwarden.portal.models.champions import Champions
from netwarden.portal.watch.roles import RoleNow
from netwarden.portal.watch.scored_flows import Lately
from netwarden.settings import Settings
from netwarden.sources.store import AlertStore

_PORTS = {"http": 80, "https": 443}
_ASK_EVERY_S = 30.0
_ANSWER_S = 2.0


class Component(BaseModel):
    """One thing the portal rests on. `off`: it is not used here."""

    model_config = ConfigDict(extra="forbid")
    name: str
    state: Literal["ok", "fault", "off"]
    detail: str = Field(description="Where it is, or what is wrong")
    advice: str = Field("", description="What to do about it")


class Tracking:
    """Whether the tracking server answers, asked at most every half minute and never by who waits for a page."""

    def __init__(self, settings: Settings) -> None:
        self._uri = settings.mlflow_uri or ""
        self._fault: str | None = None
        self._asked_at = -_ASK_EVERY_S
        self._lock = threading.Lock()

    def component(self) -> Component:
        """What was found out last; the first answer is on its way."""
        parts = urlsplit(self._uri)
        if parts.scheme not in _PORTS:
            where = "a file of this machine" if not self._uri or self._uri.startswith("sqlite") else self._uri
            return Component(name="Tracking", state="ok", detail=f"MLflow in {where}")
        with self._lock:
            if time.monotonic() - self._asked_at >= _ASK_EVERY_S:
                self._asked_at = time.monotonic()
                threading.Thread(target=self._ask, daemon=True).start()
        if self._fault:
            advice = (
                "Runs go on without it and are sent later; see that the server runs and MLFLOW_TRACKING_URI is right"
            )
            return Component(name="Tracking", state="fault", detail=self._fault, advice=advice)
        return Component(name="Tracking", state="ok", detail=f"MLflow at {parts.hostname}")

    def _ask(self) -> None:
        parts = urlsplit(self._uri)
        try:
            socket.create_connection((parts.hostname or "", parts.port or _PORTS[parts.scheme]), _ANSWER_S).close()
            self._fault = None
        except OSError as error:
            self._fault = f"{parts.hostname} does not answer ({error.strerror or error})"


def components(
    settings: Settings,
    alerts: AlertStore,
    champions: Champions,
    scored: Lately,
    roles: Sequence[RoleNow],
    tracking: Tracking,
) -> list[Component]:
    """How everything is, in the order in which it matters."""
    stream = stream_component(settings, scored.fault, roles)
    return [_store(settings, alerts), _detector(champions), stream, tracking.component()]


def _store(settings: Settings, alerts: AlertStore) -> Component:
    where = "MongoDB" if settings.mongodb_uri else "SQLite under NETWARDEN_HOME"
    try:
        alerts.count(at_most=1)
    except NetwardenError as error:
        advice = "Alerts wait in the queue meanwhile; see that the server runs, then ask netwarden doctor"
        return Component(name="Store", state="fault", detail=str(error), advice=advice)
    return Component(name="Store", state="ok", detail=where)


def _detector(champions: Champions) -> Component:
    serving = champions.serving()
    if serving.faults:
        detail = "; ".join(f"{name}: {fault}" for name, fault in serving.faults.items())
        advice = "Roll back to a bundle that loads, or bring this one back from the backup"
        return Component(name="Detector", state="fault", detail=detail, advice=advice)
    if not serving.models:
        advice = "Train one, or restore one from the backup"
        return Component(name="Detector", state="fault", detail="no detector is in charge", advice=advice)
    return Component(name="Detector", state="ok", detail=", ".join(sorted(serving.models)) + " in charge")


def stream_component(settings: Settings, fault: str, roles: Sequence[RoleNow]) -> Component:
    """How the path from sensors to alerts is; `fault` is why the feed of scored flows cannot be read."""
    if fault:
        advice = "Sensors keep flows on disk meanwhile; see that Redis runs and REDIS_URL is right"
        return Component(name="Stream", state="fault", detail=fault, advice=advice)
    worst = next(filter(None, map(_fault_of, roles)), None)
    if worst:
        return worst
    sensors, workers = (sum(each.role == role for each in roles) for role in ("sensor", "worker"))
    if sensors and not workers:
        detail = f"{_counted(sensors, 'sensor')} and no worker: flows wait in the queue"
        return Component(name="Stream", state="fault", detail=detail, advice="netwarden worker scores them")
    if roles:
        detail = f"{_counted(sensors, 'sensor')} and {_counted(workers, 'worker')} are alive"
        return Component(name="Stream", state="ok", detail=detail)
    if settings.redis_url:
        return Component(name="Stream", state="ok", detail="Redis answers; no sensor or worker is there")
    return Component(
        name="Stream", state="off", detail="no sensor here", advice="netwarden up --interface eth0 watches a network"
    )


def _fault_of(role: RoleNow) -> Component | None:
    who = f"{role.role} {role.name} on {role.host}:{role.port}"
    if role.silent:
        detail = f"{who} has given no sign of life since {role.last_seen:%H:%M:%S} UTC"
        advice = "See whether it still runs, and start it again; what it had at hand goes to other workers"
        if role.role == "sensor":
            advice = "See whether it still runs, and start it again; meanwhile its network is not watched"
        return Component(name="Stream", state="fault", detail=detail, advice=advice)
    if role.faults:
        advice = "It goes on by itself once that answers"
        return Component(name="Stream", state="fault", detail=f"{who}: {role.faults[0]}", advice=advice)
    return None


def _counted(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
