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
from itertools import groupby
from pathlib import Path
from typing import Protocol

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

Change = Callable[[Connection, Heads], None]
"""Something to be done inside a transaction, in the thread of the writer."""
Outcome = tuple[WriteWork, int | StorageError]
"""Work, with its result or why it could not be done."""


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
        self._queue: WorkQueue[WriteWork] = WorkQueue(
            jobs_max=WRITE_QUEUE_JOBS_MAX, on_work=self._write_next
        )
        self._heads = Heads()
        self._connection: Connection | None = None
        self._rider: Rider | None = None
        self._is_writing = False
        self._is_idle = asyncio.Event()

    def carry(self, rider: Rider) -> None:
        """Let somebody ride along with transactions."""
        self._rider = rider

    def wake(self) -> None:
        """Ask the rider to board, even if nothing else is to be written."""
        self._write_next()

    async def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None],
    ) -> int:
        """Append operations and change records, all or none; see `OperationStore.append`."""
        return (await self._queue.run(AppendWork(Append(document, operations, records)))).result

    async def change(self, change: Change, *, rows: int = 1, size: int = 0) -> None:
        """Carry out any other change in a transaction.

        Args:
            change: What to do; it may be called again when others in the same transaction fail.
            rows: About how many rows it touches.
            size: About how many bytes it writes.
        """
        await self._queue.run(ChangeWork(change, rows=rows, size=size))

    async def close(self) -> None:
        """Write what waits, then give the connection back."""
        self._queue.close()
        self._write_next()
        try:
            await finish(self._is_idle.wait())
        finally:
            self._queue.fail_all()
            if self._connection is not None:
                connection, self._connection = self._connection, None
                loop = asyncio.get_running_loop()
                await finish(loop.run_in_executor(self._thread, connection.close))

    # -- In the event loop --

    def _write_next(self) -> None:
        if self._is_writing:
            return
        batch = self._take_batch()
        self._is_writing = bool(batch)
        if batch:
            self._is_idle.clear()
            self._thread.submit(self._write, batch, asyncio.get_running_loop())
        else:
            self._is_idle.set()

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

    def _answer(self, outcomes: Sequence[Outcome]) -> None:
        for work, outcome in outcomes:
            if isinstance(outcome, StorageError):
                work.fail(outcome)
            else:
                work.succeed(outcome)
        self._is_writing = False
        self._write_next()

    # -- In the thread --

    def _write(self, batch: Sequence[WriteWork], loop: asyncio.AbstractEventLoop) -> None:
        outcomes: list[Outcome] = []
        try:
            self._try(batch, outcomes)
        except BaseException:
            logger.exception("storage.write.crashed")
            self._heads.clear()
            raise
        finally:
            # Nobody is left without an answer, whatever went wrong.
            defect = StorageError("this was not written, because of a defect of culm")
            outcomes += [(work, defect) for work in batch[len(outcomes) :]]
            loop.call_soon_threadsafe(self._answer, outcomes)

    def _try(
        self, batch: Sequence[WriteWork], outcomes: list[Outcome], *, is_careful: bool = False
    ) -> None:
        """Write a batch together; if that fails, its halves, down to a single work."""
        try:
            with storage_errors(self._path):
                results = self._commit(batch, is_careful=is_careful)
        except StorageError as error:
            self._heads.clear()
            if len(batch) > 1:
                middle = len(batch) // 2
                self._try(batch[:middle], outcomes)
                self._try(batch[middle:], outcomes)
            elif isinstance(error, PlaceTakenError) and not is_careful:
                self._try(batch, outcomes, is_careful=True)
            else:
                logger.warning("storage.write.failed", extra={"error": type(error).__name__})
                outcomes.append((batch[0], error))
        else:
            outcomes += zip(batch, results, strict=True)

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
