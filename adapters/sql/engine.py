"""How connections to the database file are made: one that writes, a few that only read.

There is one writing connection in a process, because SQLite before 3.51.3 can damage a file that two connections
write or checkpoint at once.
"""

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

BUSY_TIMEOUT_MS: Final = 5_000
JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024  # a longer write-ahead log is cut back once it is empty


_WRITING_SETTINGS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA journal_size_limit = {JOURNAL_BYTES_MAX}",
)


class _ReadingConnection(sqlite3.Connection):
    # Neither setting looks at the file, so neither can fail: aiosqlite would leave a thread behind.
    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]
        self.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        self.execute("PRAGMA query_only = ON")


def make_writing_engine(path: Path) -> Engine:
    """Make the engine of the writer: it has one connection, which begins with the first change."""
    return create_engine(
        _url("sqlite", path),
        pool_size=1,
        max_overflow=0,
        connect_args={"isolation_level": "IMMEDIATE"},
    )


def connect_writing(engine: Engine) -> Connection:
    """Make the writing connection, with its settings; whoever gets it closes it."""
    connection = engine.connect()
    try:
        for setting in _WRITING_SETTINGS:
            connection.exec_driver_sql(setting)
        connection.rollback()  # leaves the transaction that SQLAlchemy begins by itself
    except BaseException:
        connection.close()
        raise
    return connection


def make_reading_engine(path: Path, *, connections_max: int) -> AsyncEngine:
    """Make the engine of the readers: whatever is read in one transaction is of one moment."""
    engine = create_async_engine(
        _url("sqlite+aiosqlite", path),
        pool_size=connections_max,
        max_overflow=0,
        connect_args={"factory": _ReadingConnection, "isolation_level": None},
    )
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _url(driver: str, path: Path) -> URL:
    return URL.create(driver, database=str(path))
