"""The only door to Redis: the queue and the feed as streams, a body in one packed field of each entry."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from netwarden import telemetry
from netwarden.errors import QueueFullError, StoreError
from netwarden.sources import redis_scripts as scripts
from netwarden.sources.store import DeadLetter, Message, QueueLimits

_GROUP = "workers"
_BODY = b"body"
_FULL_POLL_S = (0.01, 0.2)  # the first wait for room and the longest
_MANY = 1 << 20  # entries; Redis wants a number where all are meant
_PREFIX = "{netwarden}"  # in braces: a cluster keeps all keys of a script on one node


class RedisQueue:
    """Queue in Redis Streams, for any number of publishers and consumers on any machine. Connects on first use.

    A message that is done is deleted, so the stream's length is the queue's depth.
    """

    def __init__(self, url: str, limits: QueueLimits | None = None, name: str = "flows", timeout_s: float = 10) -> None:
        self._limits = limits or QueueLimits()
        self._server = _Server(url, timeout_s)
        self._stream = f"{_PREFIX}:{name}"
        self._dead = f"{self._stream}:dead"
        self._keys = [self._stream, f"{self._stream}:sizes", f"{self._stream}:bytes", self._dead]
        self._dropped = 0
        self._was_full = False
        register = self._server.client.register_script
        self._publish, self._room, self._steady = map(register, (scripts.PUBLISH, scripts.ROOM, scripts.STEADY))
        self._acknowledge, self._split, self._dead_letter, self._redrive = map(
            register, (scripts.ACKNOWLEDGE, scripts.SPLIT, scripts.DEAD_LETTER, scripts.REDRIVE)
        )

    @property
    def address(self) -> str:
        """Where messages go, fit to print."""
        return self._server.address

    @property
    def dropped(self) -> int:
        """Messages and dead letters lost to the bounds by what this object did."""
        return self._dropped

    def _count_dropped(self, what: str, count: int) -> None:
        self._dropped += count
        telemetry.QUEUE_DROPPED.labels(what).inc(count)

    def publish(self, body: bytes) -> str:
        """Append a body and return its id. Raises QueueFullError where there is no room in time."""
        timeout_s = self._limits.publish_timeout_s
        deadline, (wait_s, longest_s) = time.monotonic() + timeout_s, _FULL_POLL_S
        while True:
            given = self._appended(body)
            if given is not None:
                return given
            if time.monotonic() > deadline:
                raise QueueFullError(
                    f"the queue has been full ({self.depth()} messages) for {timeout_s:g} s; is a worker reading it?"
                )
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    def _appended(self, body: bytes) -> str | None:
        """The new id; None where it is full. A body travels only if there was room the last time it was asked."""
        limits = self._limits
        bounds = [limits.messages, limits.bytes]
        if self._was_full and not self._run(self._room, [len(body), *bounds]):
            return None
        facts = [*bounds, int(limits.when_full == "drop_oldest"), int(limits.max_age_s * 1000)]
        given, dropped = self._run(self._publish, [_GROUP, body, *facts])
        self._count_dropped("batch", int(dropped))
        self._was_full = given is None
        return None if given is None else str(given.decode())

    def read(self, consumer: str, limit: int, wait_s: float) -> list[Message]:
        """Next messages for a consumer; they stay pending until acknowledged."""
        wait_ms = max(1, int(wait_s * 1000)) if wait_s > 0 else None
        with self._grouped():
            found: Any = self._server.client.xreadgroup(
                _GROUP, consumer, {self._stream: ">"}, count=limit, block=wait_ms
            )
            return [Message(key.decode(), fields[_BODY]) for _, entries in found or () for key, fields in entries]

    def acknowledge(self, message_ids: Sequence[str]) -> None:
        """Forget messages that are done; unknown ids are ignored."""
        if message_ids:
            self._run(self._acknowledge, [_GROUP, *message_ids])

    def claim(self, consumer: str, idle_s: float, limit: int) -> list[Message]:
        """Take over messages left pending for at least idle_s, whoever had them, oldest first."""
        self._run(self._steady, [_GROUP])
        with self._grouped():
            answer: Any = self._server.client.xautoclaim(
                self._stream, _GROUP, consumer, int(idle_s * 1000), count=limit
            )
            claimed = [(key, fields) for key, fields in answer[1] if fields]
            if not claimed:
                return []
            pending: Any = self._server.client.xpending_range(
                self._stream, _GROUP, claimed[0][0], claimed[-1][0], _MANY, consumer
            )
        deliveries = {entry["message_id"]: int(entry["times_delivered"]) for entry in pending}
        return [Message(key.decode(), fields[_BODY], deliveries.get(key, 1)) for key, fields in claimed]

    def hold(self, consumer: str, message_ids: Sequence[str]) -> None:
        """Say that pending messages are still being worked on, so that nobody claims them for now."""
        if message_ids:
            with self._grouped():
                self._server.client.xclaim(self._stream, _GROUP, consumer, 0, list(message_ids), justid=True)

    def split(self, message: Message, bodies: Sequence[bytes]) -> None:
        """Put bodies, all at once, in the place of a message that is pending."""
        self._run(self._split, [_GROUP, message.message_id, *bodies])

    def dead_letter(self, message: Message, reason: str, bodies: Sequence[bytes] | None = None) -> None:
        """Acknowledge a pending message and set it (or `bodies` instead of it) aside with a reason."""
        aside = (message.body,) if bodies is None else bodies
        facts = [_GROUP, message.message_id, reason, self._limits.dead_letters, *aside]
        self._count_dropped("dead_letter", int(self._run(self._dead_letter, facts)))

    def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """What was set aside, oldest first."""
        with self._server.explained():
            found: Any = self._server.client.xrange(self._dead, count=limit)
        return [DeadLetter(key.decode(), fields[_BODY], fields[b"reason"].decode()) for key, fields in found]

    def redrive(self, letter_ids: Sequence[str]) -> int:
        """Put dead letters back into the queue, beyond its bounds; returns how many were still there."""
        return int(self._run(self._redrive, list(letter_ids))) if letter_ids else 0

    def depth(self) -> int:
        """Messages not yet acknowledged."""
        with self._server.explained():
            return int(self._server.client.xlen(self._stream))

    def close(self) -> None:
        """Close the connections."""
        self._server.client.close()

    def _run(self, script: Any, arguments: list[Any]) -> Any:
        with self._grouped():
            return script(keys=self._keys, args=arguments)

    @contextmanager
    def _grouped(self) -> Iterator[None]:
        """Errors in our words. Where the group is missing, as on a new or emptied server, it is there the next time."""
        with self._server.explained():
            if not self._server.greeted:
                self._make_group()
            try:
                yield
            except (redis.ConnectionError, redis.ResponseError):
                self._server.greeted = False
                raise

    def _make_group(self) -> None:
        try:
            self._server.client.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._server.greeted = True


class RedisFeed:
    """Feed in a Redis stream of bounded length. Connects on first use."""

    def __init__(self, url: str, name: str, entries: int = 1000, timeout_s: float = 10) -> None:
        self._server = _Server(url, timeout_s)
        self._stream = f"{_PREFIX}:{name}"
        self._entries = entries

    def append(self, body: bytes) -> str:
        """Add a body and return its id. Raises StoreError."""
        with self._server.explained():
            key: Any = self._server.client.xadd(self._stream, {_BODY: body}, maxlen=self._entries, approximate=False)
            return str(key.decode())

    def after(self, entry_id: str, limit: int, wait_s: float) -> list[tuple[str, bytes]]:
        """Entries behind one, oldest first; empty: from the oldest kept. Raises StoreError."""
        wait_ms = max(1, int(wait_s * 1000)) if wait_s > 0 else None
        with self._server.explained():
            found: Any = self._server.client.xread({self._stream: entry_id or "0"}, count=limit, block=wait_ms)
        return [(key.decode(), fields[_BODY]) for _, entries in found or () for key, fields in entries]

    def close(self) -> None:
        """Close the connections."""
        self._server.client.close()


def ping(url: str, timeout_s: float) -> str:
    """Address of a Redis server that answers and takes our login, without the login. Raises StoreError."""
    server = _Server(url, timeout_s)
    with server.client as client, server.explained():
        client.ping()
    return server.address


class _Server:
    """A Redis server by its address, its errors in our own words."""

    def __init__(self, url: str, timeout_s: float) -> None:
        try:
            parts = urlsplit(url)
            self.address = f"Redis {parts.hostname}:{parts.port or 6379}"
            self.client = redis.Redis.from_url(
                url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),  # callers know how to wait
                protocol=2,
            )
        except ValueError:  # its text may quote a part of the password
            raise StoreError("REDIS_URL is not an address such as redis://:password@host:6379/0") from None
        self.greeted = False

    @contextmanager
    def explained(self) -> Iterator[None]:
        try:
            yield
        except redis.AuthenticationError:
            raise StoreError(f"{self.address}: the password is wrong or missing; check REDIS_URL") from None
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise StoreError(f"{self.address}: no answer ({error}); is it running?") from None
        except redis.OutOfMemoryError:
            raise StoreError(f"{self.address}: its memory is full; raise maxmemory or lower stream.queue_mb") from None
        except redis.RedisError as error:
            raise StoreError(f"{self.address}: {error}") from None
