"""A database with its workers running, as `node.runtime` has it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.sql.database import SqlDatabase


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator[SqlDatabase]:
    """Open the database at that path, and run its workers until it is closed."""
    async with SqlDatabase.open(path) as database, asyncio.TaskGroup() as group:
        for worker in database.workers:
            group.create_task(worker())
        yield database
        await database.close()
