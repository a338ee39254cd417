"""The SQL store and queue pass their contracts on files."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from domain.ports.storage import OperationQueue, OperationStore
from tests.adapters.sql.running import open_database
from tests.contracts.operation_queue import OpenQueue, OperationQueueContract
from tests.contracts.operation_store import OpenStore
from tests.contracts.splitting import SplittingStoreContract


class TestSqlOperationStore(SplittingStoreContract):
    @asynccontextmanager
    async def place(self) -> AsyncIterator[OpenStore]:
        with TemporaryDirectory() as directory:

            @asynccontextmanager
            async def open_store() -> AsyncIterator[OperationStore]:
                async with open_database(Path(directory) / "culm.sqlite") as database:
                    yield database.store

            yield open_store


class TestSqlOperationQueue(OperationQueueContract):
    @asynccontextmanager
    async def place(self) -> AsyncIterator[OpenQueue]:
        with TemporaryDirectory() as directory:

            @asynccontextmanager
            async def open_queue() -> AsyncIterator[OperationQueue]:
                async with open_database(Path(directory) / "culm.sqlite") as database:
                    yield database.queue

            yield open_queue
