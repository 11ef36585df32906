"""Clearing up once an hour: alerts and uploads that were kept for as long as the settings say."""

from __future__ import annotations

import shutil
import threading
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Depends, Request

from netwarden import logs, telemetry
from netwarden.errors import NetwardenError
from netwarden.portal.access.audit import record
from netwarden.portal.access.people import needs
from netwarden.portal.reference import Retention, faults
from netwarden.portal.uploads.uploads import recent_uploads, uploads_folder
from netwarden.settings import Settings
from netwarden.sources.alert_store import AlertStore
from netwarden.triage.retention import forget_old_alerts

router = APIRouter()
_log = logs.get(__name__)
_EVERY_S = 3600.0
_FIRST_AFTER_S = 20.0  # the start has other things to do
_MOST_S = 120.0  # of one time; what is left waits for the next
_MANY = 1_000_000


class ClearingUp:
    """A thread that clears up; several portals over one store may do so side by side."""

    def __init__(self, settings: Settings, alerts: AlertStore) -> None:
        self._settings = settings
        self._alerts = alerts
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self.last = Retention(at=None, removed={}, fault="")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; what it is at is finished first."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def once(self, now: datetime) -> Retention:
        """Clear up now."""
        removed, fault = {}, ""
        try:
            removed = forget_old_alerts(self._alerts, self._settings.retention, now, _MOST_S)
            removed |= self._uploads(now)
        except (NetwardenError, OSError) as error:
            fault = str(error)
            _log.error("clearing up failed", extra={"error": fault})
        for kind, number in removed.items():
            telemetry.CLEARED_UP.labels(kind).inc(number)
        if removed:
            _log.info("cleared up", extra=removed)
        self.last = Retention(at=now, removed=removed, fault=fault)
        return self.last

    def _run(self) -> None:
        wait_s = _FIRST_AFTER_S
        while not self._stopping.wait(wait_s):
            self.once(datetime.now(UTC))
            wait_s = _EVERY_S

    def _uploads(self, now: datetime) -> dict[str, int]:
        days = self._settings.retention.upload_days
        if not days:
            return {}
        old = [one for one in recent_uploads(self._settings, _MANY) if one.created_at < now - timedelta(days=days)]
        for one in old:
            shutil.rmtree(uploads_folder(self._settings) / one.id, ignore_errors=True)
        return {"upload": len(old)} if old else {}


@router.get("/api/v1/retention", tags=["operate"], summary="What was cleared up last")
def retention(request: Request) -> Retention:
    """When this portal last cleared up, and what; the settings say how long things are kept."""
    last: Retention = request.app.state.clearing_up.last
    return last


@router.post(
    "/api/v1/retention",
    tags=["operate"],
    summary="Clear up now",
    dependencies=[Depends(needs("admin"))],
    responses=faults(403),
)
def clear_up(request: Request) -> Retention:
    """Forget what was kept for as long as the settings say, without waiting for the hour to end."""
    clearing: ClearingUp = request.app.state.clearing_up
    done = clearing.once(datetime.now(UTC))
    record(
        request, "clear up", "old alerts and uploads", ", ".join(f"{name} {n:,}" for name, n in done.removed.items())
    )
    return done
