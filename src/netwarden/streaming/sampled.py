"""A sample of judged flows with all their features, passed on so that others can tell how traffic has moved."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from netwarden.errors import InputError, StoreError
from netwarden.logs import get
from netwarden.sources.store import Feed
from netwarden.streaming.batch import StreamBatch, pack, unpack
from netwarden.streaming.judge import Judged

SAMPLES = "sampled"  # name of the feed
ENTRIES = 400  # kept in the feed: with one a second, the last seven minutes or more
_ROWS = 40
_EVERY_S = 1.0
_log = get(__name__)


class Sampler:
    """Puts up to 40 flows of a round into a feed, once a second at most. A feed that is away holds nobody up."""

    def __init__(self, feed: Feed, clock: Callable[[], float] = time.monotonic) -> None:
        self._feed = feed
        self._clock = clock
        self._lock = threading.Lock()
        self._at_s = -_EVERY_S

    def watch(self, judged: Judged) -> None:
        """Sample what was judged."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._at_s < _EVERY_S or not len(judged.batch):
                return
            self._at_s = now_s
        try:
            self._feed.append(pack(_some(judged.batch)))
        except StoreError as error:
            _log.warning("drift misses a sample", extra={"error": str(error)})


def sampled(bodies: Sequence[bytes]) -> list[StreamBatch]:
    """What samplers put into a feed; what is no batch is left out."""
    found: list[StreamBatch] = []
    for body in bodies:
        try:
            found.append(unpack(body))
        except InputError as error:
            _log.warning("no sample of flows", extra={"error": str(error)})
    return found


def _some(batch: StreamBatch) -> StreamBatch:
    """Rows at equal distances, all of a batch that is small."""
    if len(batch) <= _ROWS:
        return batch
    rows = np.linspace(0, len(batch) - 1, _ROWS).astype(np.int64)
    return replace(batch, flows=replace(batch.flows, arrow=batch.flows.arrow.take(rows)))
