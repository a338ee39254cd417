"""The database of a node: one file, one writer, a few readers.

The caller makes sure that no other process uses the file (`adapters.system.data_directory`), and runs the workers:
nothing is read or written unless they run.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, Self

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
        reading: Makes the reading connections.
    """

    def __init__(self, path: Path, writing: AsyncEngine, reading: AsyncEngine) -> None:
        self.path = path
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing, path)
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
        try:
            # A connection whose opening is cancelled would never be closed.
            await finish(_prepare(writing, path))
            database = cls(path, writing, reading)
            try:
                yield database
            finally:
                await database.close()
        finally:
            # Undisposed, the threads of the connections would outlive the loop that they report to.
            await finish(_dispose(reading, writing))

    @property
    def workers(self) -> tuple[Worker, ...]:
        """What `node.runtime` has to run, each in a task of its own, until `close`."""
        return (self._writer.run, *[self._reader.run] * READERS)

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


async def _prepare(engine: AsyncEngine, path: Path) -> None:
    with storage_errors(path):
        file_bytes = create_file(path)
        async with aclosing(await connect_writing(engine)) as connection:
            await prepare(connection, path, file_bytes)


async def _dispose(*engines: AsyncEngine) -> None:
    for engine in engines:
        await engine.dispose()
