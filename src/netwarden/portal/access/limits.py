"""How often somebody may log in, upload or train; beyond it the answer is 429 with the seconds to wait."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.exceptions import HTTPException

from netwarden.portal.access.people import person
from netwarden.settings import Settings

_KEPT = 10_000  # people and addresses remembered; the longest silent are forgotten first


@dataclass
class _Bucket:
    left: float
    at: float


class Limits:
    """Token buckets by kind and by person or address, of one portal process."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        portal = settings.portal
        self._per_minute = {
            "login": portal.logins_per_minute,
            "upload": portal.uploads_per_minute,
            "training": portal.trainings_per_minute,
        }
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, kind: str, key: str) -> float:
        """Seconds to wait until this is allowed; 0: it is, and has been counted."""
        most = self._per_minute[kind]
        with self._lock:
            now = self._clock()
            bucket = self._buckets.setdefault((kind, key), _Bucket(most, now))
            self._buckets.move_to_end((kind, key))
            if len(self._buckets) > _KEPT:
                self._buckets.popitem(last=False)
            bucket.left = min(most, bucket.left + (now - bucket.at) * most / 60)
            bucket.at = now
            if bucket.left < 1:
                return (1 - bucket.left) * 60 / most
            bucket.left -= 1
            return 0.0


def limited(kind: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that answers 429 to whoever does a kind of thing too often."""

    async def counted(request: Request) -> None:
        who = person(request)
        host = request.client.host if request.client else "unknown"
        limits: Limits = request.app.state.limits
        wait_s = limits.take(kind, who.name if who.known else host)
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise HTTPException(
                429, f"too many requests of this kind ({kind}); try again in {seconds} s", {"Retry-After": str(seconds)}
            )

    return counted
