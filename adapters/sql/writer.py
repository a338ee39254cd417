"""The one writer: it takes what waits, and commits it together.

A commit costs a flush of the disk (a millisecond, or many), a row some microseconds: so all that waits while one
transaction is being written goes into the next one. When a transaction fails it is halved and each half
tried again, until what fails stands alone: a conflict fails its own caller and nobody else.

A transaction is carried out whole in a thread of its own: to go there and back for every statement would take longer
than the statements.

Invariant: a caller is answered after the commit that holds its work, with `synchronous = FULL`.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Protocol, TypeVar

from sqlalchemy import Connection, Engine

from adapters.sql.append import Append, AppendWork, WriteWork, append
from adapters.sql.engine import connect_writing
from adapters.sql.errors import PlaceTakenError, storage_errors
from adapters.sql.head import Heads
from adapters.sql.work import WorkQueue, finish
from domain.errors import StorageError
from domain.identifiers import DocumentId
from domain.limits import (
    WRITE_BATCH_BYTES_MAX,
    WRITE_BATCH_OPERATIONS_MAX,
    WRITE_QUEUE_JOBS_MAX,
)
from domain.ports.storage import StoredOperation

logger = logging.getLogger(__name__)

R = TypeVar("R")

Change = Callable[[Connection, Heads], None]
"""Something to be done inside a transaction, in the thread of the writer."""


class ChangeWork(WriteWork):
    """Any other change; it has no result."""

    def __init__(self, change: Change, *, rows: int = 1, size: int = 0) -> None:
        super().__init__()
        self.change = change
        self.rows = rows
        self.size = size


class Rider(Protocol):
    """Has something to write now and then, which rides along with what others write."""

    @abstractmethod
    def board(self, *, is_hurried: bool) -> ChangeWork | None:
        """Hand over what has gathered, if anything; a failure is told to that work alone.

        Args:
            is_hurried: Whether nothing else is written, or operations, for which somebody waits.
        """


class Writer:
    """Writes, in one transaction at a time, on one connection.

    Args:
        engine: Gives the connection.
        thread: Its one thread is where the connection is used.
        path: The database file, for messages.
    """

    def __init__(self, engine: Engine, thread: Executor, path: Path) -> None:
        self._engine = engine
        self._thread = thread
        self._path = path
        self._queue: WorkQueue[WriteWork] = WorkQueue(jobs_max=WRITE_QUEUE_JOBS_MAX)
        self._heads = Heads()
        self._connection: Connection | None = None
        self._rider: Rider | None = None
        self._is_running = False
        self._has_ended = asyncio.Event()

    def carry(self, rider: Rider) -> None:
        """Let somebody ride along with transactions."""
        self._rider = rider

    def wake(self) -> None:
        """Ask the rider to board, even if nothing else is to be written."""
        self._queue.wake()

    async def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None],
    ) -> int:
        """Append operations and change records, all or none; see `OperationStore.append`."""
        return (await self._submit(AppendWork(Append(document, operations, records)))).result

    async def change(self, change: Change, *, rows: int = 1, size: int = 0) -> None:
        """Carry out any other change in a transaction.

        Args:
            change: What to do; it may be called again when others in the same transaction fail.
            rows: About how many rows it touches.
            size: About how many bytes it writes.
        """
        await self._submit(ChangeWork(change, rows=rows, size=size))

    async def run(self) -> None:
        """Write until closed; `node.runtime` spawns this once.

        Cancelled, it ends the transaction under way, and tells whoever else waits that the database is closed.
        """
        self._is_running = True
        try:
            while not self._queue.is_closed:
                await self._queue.wait()
                await self._drain()
        finally:
            self._is_running = False
            self._has_ended.set()
            if not self._queue.is_closed:
                self._queue.fail_all()

    async def close(self) -> None:
        """Write what waits, then give the connection back."""
        self._queue.close()
        try:
            if self._is_running:
                await finish(self._has_ended.wait())
            await self._drain()
        finally:
            self._queue.fail_all()
            if self._connection is not None:
                connection, self._connection = self._connection, None
                await finish(self._in_thread(connection.close))

    async def _submit(self, work: WriteWork) -> WriteWork:
        return await self._queue.run(work)

    async def _drain(self) -> None:
        while batch := self._take_batch():
            try:
                await finish(self._write(batch))
            finally:
                for work in batch:
                    # Nobody is left without an answer, whatever went wrong.
                    work.fail(StorageError("this was not written, because of a defect of culm"))

    def _take_batch(self) -> list[WriteWork]:
        batch: list[WriteWork] = []
        rows = size = 0
        while (work := self._queue.peek()) is not None:
            rows += work.rows
            size += work.size
            if batch and (rows > WRITE_BATCH_OPERATIONS_MAX or size > WRITE_BATCH_BYTES_MAX):
                break
            self._queue.take()
            batch.append(work)
        is_hurried = all(isinstance(work, AppendWork) for work in batch)
        riding = self._rider.board(is_hurried=is_hurried) if self._rider else None
        if riding is not None:
            batch.insert(0, riding)  # what it tells came before the rest, which may forget it
        return batch

    async def _write(self, batch: Sequence[WriteWork], *, is_careful: bool = False) -> None:
        """Write a batch together; if that fails, its halves, down to a single work."""
        try:
            with storage_errors(self._path):
                results = await self._in_thread(partial(self._commit, batch, is_careful=is_careful))
        except StorageError as error:
            self._heads.clear()
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._write(batch[:middle])
                await self._write(batch[middle:])
            elif isinstance(error, PlaceTakenError) and not is_careful:
                await self._write(batch, is_careful=True)
            else:
                logger.warning("storage.write.failed", extra={"error": type(error).__name__})
                batch[0].fail(error)
        except BaseException:
            self._heads.clear()
            raise
        else:
            for work, result in zip(batch, results, strict=True):
                work.succeed(result)

    async def _in_thread(self, do: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)

    def _commit(self, batch: Sequence[WriteWork], *, is_careful: bool) -> list[int]:
        connection = self._connection
        if connection is None:
            connection = self._connection = connect_writing(self._engine)
        results: list[int] = []
        with connection.begin():
            for kind, group in groupby(batch, type):
                if kind is AppendWork:
                    appends = [work.append for work in group if isinstance(work, AppendWork)]
                    results += append(connection, self._heads, appends, is_careful=is_careful)
                else:
                    for work in group:
                        if isinstance(work, ChangeWork):
                            work.change(connection, self._heads)
                            results.append(0)
        return results
