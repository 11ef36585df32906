"""One SQLite file in WAL mode, shared by threads and processes: the ground of every embedded store."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from netwarden.errors import StoreError

_BUSY_TIMEOUT_S = 30.0
_PAGE_BYTES = 8192  # wider leaves halve the pages that an insert of random row ids dirties
_CACHE_KIB = 32_768
Upgrade = Callable[[sqlite3.Connection, int], None]  # given the version found


class Database:
    """Connections to one SQLite file; opened on first use, safe to use from several threads.

    `layout` creates the tables where they are not there (IF NOT EXISTS); `version` is the layout's number, so that an
    older Netwarden refuses a newer file. `durable` waits for the disk at every commit: a power cut loses nothing;
    without it a power cut may lose the last commits (a killed process never does). `upgrade` takes over what a file of
    an older version holds, in the same transaction as the layout.
    """

    def __init__(
        self, path: Path, layout: str, version: int = 1, durable: bool = True, upgrade: Upgrade | None = None
    ) -> None:
        self.path = path
        self._layout = layout
        self._version = version
        self._durable = durable
        self._upgrade = upgrade
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries; other processes may write meanwhile. Raises StoreError."""
        with self._connection() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a write transaction: committed at the end, rolled back on any exception.

        Raises StoreError; lets sqlite3.IntegrityError through, for those who wait for it.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:  # commits, or rolls back on any exception
                yield connection

    def close(self) -> None:
        """Close idle connections; the next use opens the file again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = None
        try:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._open()
            yield connection
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise StoreError(self._explain(error)) from error
        finally:
            if connection is not None:
                with self._lock:
                    self._idle.append(connection)

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create {self.path.parent}: {error.strerror}; is NETWARDEN_HOME right?") from None
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        with ExitStack() as unless_prepared:
            unless_prepared.callback(connection.close)
            self._prepare(connection)
            unless_prepared.pop_all()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        _switch_to_wal(connection)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > self._version:
            raise StoreError(f"{self.path} was written by a newer Netwarden (layout {found}); update this one")
        if found < self._version:
            self._lay_out(connection)

    def _lay_out(self, connection: sqlite3.Connection) -> None:
        connection.executescript(f"BEGIN IMMEDIATE; {self._layout};")
        with connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]  # others may have been faster
            if self._upgrade is not None and 0 < found < self._version:
                self._upgrade(connection, found)
            connection.execute(f"PRAGMA user_version = {self._version}")

    def _explain(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorname", "")
        for prefix, cause in _CAUSES.items():
            if code.startswith(prefix):
                return f"{self.path}: {cause}"
        return f"{self.path}: {error}"


_CAUSES = {
    "SQLITE_BUSY": f"another process has been writing for over {_BUSY_TIMEOUT_S:.0f} s; is one stuck?",
    "SQLITE_FULL": "the disk is full; free some space, then load again: what was kept is known then",
    "SQLITE_IOERR": "the disk failed to read or write; is it full, or gone?",
    "SQLITE_READONLY": "the file cannot be written; check its owner and permissions",
    "SQLITE_CANTOPEN": "the file cannot be opened; check that its folder is there and writable",
    "SQLITE_NOTADB": "this is not a Netwarden store; move it away and load again",
    "SQLITE_CORRUPT": "the file is damaged; restore it from a backup, or move it away and load again",
}


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """WAL mode; the switch itself ignores the busy timeout, so it is tried until the deadline here."""
    deadline = time.monotonic() + _BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
