"""Work that waits for a connection.

Callers never touch a connection: they leave a piece of work and wait for its outcome; the writer, or a reader that
`node.runtime` started carries it out. So a cancelled caller cannot tear a transaction, leave one open or
lose a connection, which is what happens when an await inside a transaction over aiosqlite is cancelled.
A worker that is cancelled itself ends what it is at before it stops (`finish`).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from domain.errors import StorageError

R = TypeVar("R")


async def finish(work: Awaitable[object]) -> None:
    """Await something to its end even if cancelled meanwhile; the cancellation is raised afterwards.

    Only for what ends soon and by itself, such as a transaction.
    """
    is_done = asyncio.Event()

    async def run() -> None:
        try:
            await work
        finally:
            is_done.set()

    try:
        await asyncio.shield(run())
    except asyncio.CancelledError:
        while not is_done.is_set():
            with suppress(asyncio.CancelledError):
                await is_done.wait()
        raise


class Work(Generic[R]):
    """Something to be done with a connection, and its outcome."""

    def __init__(self) -> None:
        self._outcome: asyncio.Future[R] = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        """Wait until it is done; raise why it could not be done."""
        await self._outcome

    @property
    def result(self) -> R:
        """What came of it, once it is done."""
        return self._outcome.result()

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._outcome.done()

    def succeed(self, result: R) -> None:
        """Tell whoever waits what came of it."""
        if not self._outcome.done():
            self._outcome.set_result(result)

    def fail(self, error: StorageError) -> None:
        """Tell whoever waits why it could not be done."""
        if not self._outcome.done():
            self._outcome.set_exception(error)


W = TypeVar("W", bound="Work[Any]")


def _closed() -> StorageError:
    return StorageError("the database is closed")


class WorkQueue(Generic[W]):
    """A bounded queue of work, from any number of callers to any number of workers.

    Args:
        jobs_max: So many callers at once; further ones wait for their turn.
        on_work: Called when there is work, for who does not `wait`.
    """

    def __init__(self, *, jobs_max: int, on_work: Callable[[], None] = lambda: None) -> None:
        self._waiting: deque[W] = deque()
        self._room = asyncio.Semaphore(jobs_max)
        self._wake = asyncio.Event()
        self._on_work = on_work
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether no more work is taken."""
        return self._is_closed

    async def run(self, work: W) -> W:
        """Leave work and wait until it is done; cancelled, it is done wholly or not at all.

        Raises:
            StorageError: It could not be done, or the queue is closed.
        """
        async with self._room:
            if self._is_closed:
                raise _closed()
            self._waiting.append(work)
            self._wake.set()
            self._on_work()
            try:
                await work.wait()
            except asyncio.CancelledError:
                if work in self._waiting:
                    self._waiting.remove(work)
                raise
        return work

    async def wait(self) -> None:
        """Wait until there may be something to do."""
        while not self._waiting and not self._is_closed and not self._wake.is_set():
            await self._wake.wait()
        self._wake.clear()

    def peek(self) -> W | None:
        """Look at the next work, passing over what nobody waits for."""
        while self._waiting and self._waiting[0].is_over:
            self._waiting.popleft()
        return self._waiting[0] if self._waiting else None

    def take(self) -> W | None:
        """Take the next work, if there is any."""
        work = self.peek()
        if work is not None:
            self._waiting.popleft()
        return work

    def close(self) -> None:
        """Take no more work; what waits will still be done."""
        self._is_closed = True
        self._wake.set()

    def fail_all(self) -> None:
        """Give up what waits: no worker is left to do it."""
        self._is_closed = True
        while self._waiting:
            self._waiting.popleft().fail(_closed())
