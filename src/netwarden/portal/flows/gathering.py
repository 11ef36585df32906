"""Requests gathered into one piece of work: what costs the same for one as for fifty is done once for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from netwarden.errors import NetwardenError, QueueFullError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_WAIT_S = 0.002  # how long the first of several waits for more
_MOST = 256  # in one piece of work
_WAITING = 4096  # beyond it, refusing is kinder than keeping people waiting


class Gatherer(Generic[Item, Answer]):
    """Does work of many callers together, one piece at a time, in a thread of its own.

    While a piece is worked on, what comes is gathered. Where callers are many, the next piece waits up to 2 ms for
    more; a lone caller waits for nothing. To be used from one event loop.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Answer | NetwardenError]], name: str) -> None:
        self._work = work
        self._name = name
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._crowded = False
        self._going: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, f"netwarden-{name}")

    async def ask(self, item: Item) -> Answer:
        """The answer to one item. Raises what it is answered with, and QueueFullError where too many wait."""
        if len(self._waiting) >= _WAITING:
            raise QueueFullError(f"{len(self._waiting)} requests wait for {self._name} already; try again in a second")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._going is None:
            self._going = asyncio.create_task(self._go())
        return await future

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown()

    async def _go(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                if self._crowded and len(self._waiting) < _MOST:
                    await asyncio.sleep(_WAIT_S)
                taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                self._crowded = len(taken) > 1
                work = loop.run_in_executor(self._thread, self._work, [item for item, _ in taken])
                [done] = await asyncio.gather(work, return_exceptions=True)  # an error is every caller's answer
                _tell(taken, [done] * len(taken) if isinstance(done, BaseException) else done)
        finally:
            self._going = None


def _tell(taken: Sequence[tuple[Item, asyncio.Future[Answer]]], done: Sequence[Answer | BaseException]) -> None:
    for (_, future), answer in zip(taken, done, strict=True):
        if future.done():  # whoever asked has left
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
