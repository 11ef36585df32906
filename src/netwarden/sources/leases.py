"""Single flight across processes and machines: a lease that is renewed while its block runs."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from netwarden import logs
from netwarden.errors import HeldError, StoreError

TRAINING = "training"  # one at a time for each store, however it was started

_log = logs.get(__name__)


class LeaseTable(Protocol):
    """Who holds what until when, by one clock; `token` tells two holders of the same name apart."""

    def take(self, name: str, holder: str, token: str, ttl_s: float) -> str | None:
        """Take or renew a lease; returns the present holder where another has it."""
        ...

    def give_back(self, name: str, token: str) -> None:
        """End a lease, if it is still this token's."""
        ...

    def holder(self, name: str) -> str | None:
        """Who holds a lease now; None: nobody."""
        ...

    def close(self) -> None: ...


class RenewedLease:
    """Lease over any LeaseTable. A holder that dies frees its lease after ttl_s."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table

    @contextmanager
    def hold(self, name: str, holder: str, ttl_s: float) -> Iterator[None]:
        """Hold while the block runs. Raises HeldError naming the present holder."""
        token = secrets.token_hex(8)
        present = self._table.take(name, holder, token, ttl_s)
        if present is not None:
            raise HeldError(f"{name} is held by {present}; wait until it ends")
        done = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(name, holder, token, ttl_s, done), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            done.set()
            renewal.join()
            self._table.give_back(name, token)

    def holder(self, name: str) -> str | None:
        """Who holds it now; None: nobody."""
        return self._table.holder(name)

    def close(self) -> None:
        self._table.close()

    def _renew(self, name: str, holder: str, token: str, ttl_s: float, done: threading.Event) -> None:
        while not done.wait(ttl_s / 3):
            try:
                present = self._table.take(name, holder, token, ttl_s)
            except StoreError as error:
                _log.warning("cannot renew the lease, trying again", extra={"lease": name, "cause": str(error)})
                continue
            if present is not None:
                _log.error(
                    "lost the lease: this process was stopped for too long", extra={"lease": name, "to": present}
                )
                return
