"""The database of a node: one file, one writer, a few readers.

The caller makes sure that no other process uses the file (`adapters.system.data_directory`), and runs the workers:
nothing is read unless they run.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final, Self

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from adapters.sql.engine import connect_writing, make_reading_engine, make_writing_engine
from adapters.sql.errors import storage_errors
from adapters.sql.preparation import check, create_file, prepare
from adapters.sql.queue import SqlOperationQueue
from adapters.sql.reader import Reader
from adapters.sql.store import SqlOperationStore
from adapters.sql.work import finish
from adapters.sql.writer import Writer

READERS: Final = 2

Worker = Callable[[], Coroutine[None, None, None]]


class SqlDatabase:
    """An open database; made by `open`.

    Args:
        path: The file.
        writing: Makes the writing connection.
        thread: Where it is used; it has one.
        reading: Makes the reading connections.
    """

    def __init__(self, path: Path, writing: Engine, thread: Executor, reading: AsyncEngine) -> None:
        self.path = path
        self._writer = Writer(writing, thread, path)
        self._reader = Reader(reading, path)
        self.store = SqlOperationStore(self._writer, self._reader)
        self.queue = SqlOperationQueue(self._writer, self._reader)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open the database file, making it if it is not there; close it at the end.

        Raises:
            StorageCorruptError: It is damaged, or no database of culm.
            StorageVersionError: It was written by a newer culm.
            StorageError: It could not be read or written.
        """
        writing = make_writing_engine(path)
        reading = make_reading_engine(path, connections_max=READERS)
        with ThreadPoolExecutor(1, thread_name_prefix="culm-writer") as thread:
            try:
                await _in(thread, lambda: _prepare(writing, path))
                database = cls(path, writing, thread, reading)
                try:
                    yield database
                finally:
                    await database.close()
            finally:
                # Undisposed, the threads of the connections would outlive the loop that they report to.
                await finish(reading.dispose())
                await _in(thread, writing.dispose)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """What `node.runtime` has to run, each in a task of its own, until `close`."""
        return (self._reader.run,) * READERS

    async def check(self) -> None:
        """Look for damage in the structure of the whole file; takes seconds for some hundred MB.

        Raises:
            StorageCorruptError: There is some.
        """
        await self._reader.read(lambda connection: check(connection, self.path))

    async def close(self) -> None:
        """Write what waits, acknowledged heights included, and let the workers end; may be repeated."""
        self.queue.close()
        try:
            await self._writer.close()
        finally:
            await self._reader.close()


async def _in(thread: Executor, do: Callable[[], None]) -> None:
    """Do something there, to its end even if cancelled."""
    await finish(asyncio.get_running_loop().run_in_executor(thread, do))


def _prepare(engine: Engine, path: Path) -> None:
    with storage_errors(path):
        file_bytes = create_file(path)
        with closing(connect_writing(engine)) as connection:
            prepare(connection, path, file_bytes)
