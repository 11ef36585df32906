"""How long to wait before trying again what was away."""

from __future__ import annotations

import random
import threading


class Backoff:
    """Waits that double up to a limit, each of a random length so that those who wait do not come back at once."""

    def __init__(self, first_s: float = 0.05, most_s: float = 0.5) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._tries = 0

    def wait(self, stop: threading.Event) -> bool:
        """Wait; True where the role is to stop."""
        delay_s = min(self._most_s, self._first_s * 2 ** min(self._tries, 20))
        self._tries += 1
        return stop.wait(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing

    def reset(self) -> None:
        self._tries = 0
