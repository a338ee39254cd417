"""The readers: a few connections that only read, each driven by a worker.

What one piece of work reads is of one moment, whatever is written meanwhile.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from adapters.sql.errors import storage_errors
from adapters.sql.work import Work, WorkQueue, finish
from domain.errors import StorageError
from domain.limits import READ_QUEUE_JOBS_MAX

R = TypeVar("R")


class ReadWork(Work[Any]):
    """Something to be read."""

    def __init__(self, read: Callable[[Connection], Any]) -> None:
        super().__init__()
        self.read = read


class Reader:
    """Reads, on as many connections as it has workers.

    Args:
        engine: Gives the connections.
        path: The database file, for messages.
    """

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._queue: WorkQueue[ReadWork] = WorkQueue(jobs_max=READ_QUEUE_JOBS_MAX)
        self._running = 0
        self._have_ended = asyncio.Event()

    async def read(self, read: Callable[[Connection], R]) -> R:
        """Carry out `read` in a transaction of its own; it must not keep the connection."""
        work = await self._queue.run(ReadWork(read))
        return cast("R", work.result)

    async def run(self) -> None:
        """Read until closed; `node.runtime` spawns this once or more, a connection each.

        Cancelled, it ends what it is reading, and the last one tells whoever waits that the database is closed.
        """
        self._running += 1
        session = _Session(self._engine, self._path)
        try:
            while not self._queue.is_closed:
                await self._queue.wait()
                while work := self._queue.take():
                    await finish(session.read(work))
        finally:
            try:
                await finish(session.close())
            finally:
                self._running -= 1
                if self._running == 0:
                    self._queue.fail_all()
                    self._have_ended.set()

    async def close(self) -> None:
        """Let the workers end; whoever still waits is told that the database is closed."""
        self._queue.close()
        self._queue.fail_all()
        if self._running:
            await finish(self._have_ended.wait())


class _Session:
    """The connection of one worker."""

    def __init__(self, engine: AsyncEngine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._connection: AsyncConnection | None = None

    async def read(self, work: ReadWork) -> None:
        """Do a piece of work and answer whoever waits for it."""
        try:
            with storage_errors(self._path):
                if self._connection is None:
                    self._connection = await self._engine.connect()
                async with self._connection.begin():
                    result = await self._connection.run_sync(work.read)
        except StorageError as error:
            work.fail(error)
        else:
            work.succeed(result)
        finally:
            # Nobody is left without an answer, whatever went wrong.
            work.fail(StorageError("this was not read, because of a defect of culm"))

    async def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await self._connection.close()
