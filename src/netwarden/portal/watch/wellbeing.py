"""Whether what the portal rests on answers: store, registry, stream, tracking; and what to do where it does not."""

from __future__ import annotations

import socket
import threading
import time
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from netwarden.errors import NetwardenError
from netwarden.portal.models.champions import Champions
from netwarden.portal.watch.scored_flows import Lately
from netwarden.settings import Settings
from netwarden.sources.store import AlertStore
from netwarden.streaming.health import roles_in_process

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
    settings: Settings, alerts: AlertStore, champions: Champions, scored: Lately, tracking: Tracking
) -> list[Component]:
    """How everything is, in the order in which it matters."""
    return [_store(settings, alerts), _detector(champions), _stream(settings, scored), tracking.component()]


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


def _stream(settings: Settings, scored: Lately) -> Component:
    if scored.fault:
        advice = "Sensors keep flows on disk meanwhile; see that Redis runs and REDIS_URL is right"
        return Component(name="Stream", state="fault", detail=scored.fault, advice=advice)
    for role in roles_in_process():
        for name, part in role.get("components", {}).items():
            if not part["ok"]:
                detail = f"{role['role']}: {name} is away ({part['detail']})"
                return Component(
                    name="Stream", state="fault", detail=detail, advice="It goes on by itself once that answers"
                )
    if settings.redis_url:
        return Component(name="Stream", state="ok", detail="Redis answers")
    if roles_in_process() or scored.flows:
        return Component(name="Stream", state="ok", detail="sensor and worker run in this process")
    return Component(
        name="Stream", state="off", detail="no sensor here", advice="netwarden up --interface eth0 watches a network"
    )
