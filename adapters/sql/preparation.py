"""Brings the database file to the tables that this version works with, before anything else uses it.

A new file gets its tables; an older one is copied and then migrated; a newer one, a damaged one and one that is not
ours are refused and left alone. Alembic is loaded only for a migration: loading it takes longer than opening.
"""

import logging
import os
from pathlib import Path

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import DBAPIError

from adapters.sql import schema
from domain.errors import StorageCorruptError, StorageError, StorageVersionError
from domain.limits import QUICK_CHECK_BYTES_MAX

logger = logging.getLogger(__name__)


def create_file(path: Path) -> int:
    """Make sure that the file exists, and that only its owner can read it; SQLite does the rest.

    Returns:
        Its size in bytes.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def prepare(connection: Connection, path: Path, file_bytes: int) -> None:
    """Check the file, and bring it to the present tables.

    Args:
        connection: The writing connection, in no transaction.
        path: The database file.
        file_bytes: Its size; a very large one is not checked for damage here.

    Raises:
        StorageCorruptError: It is damaged, or no database of culm.
        StorageVersionError: It was written by a newer culm.
        StorageError: It could not be read or written.
    """
    if file_bytes <= QUICK_CHECK_BYTES_MAX:
        check(connection, path)
    revision = _revision(connection)
    if revision == schema.REVISION:
        return
    if revision is None:
        _create(connection, path)
    elif revision in schema.KNOWN_REVISIONS:
        _back_up(connection, path, revision)
        _upgrade(connection)
        logger.info(
            "storage.upgraded", extra={"from_revision": revision, "to_revision": schema.REVISION}
        )
    else:
        raise _newer(connection, path)


def check(connection: Connection, path: Path) -> None:
    """Look for damage in the structure of the whole file; takes seconds for some hundred MB.

    Raises:
        StorageCorruptError: There is some.
    """
    result = connection.exec_driver_sql("PRAGMA quick_check(1)")
    verdict = result.scalar_one_or_none()
    _end_reading(connection)
    if verdict != "ok":
        raise StorageCorruptError(
            f"{path} is damaged ({str(verdict)[:200]}): put a backup in its place, or move it away"
            " and join the documents again"
        )


def _revision(connection: Connection) -> str | None:
    """Read which migration was last applied, or None if the file has no tables."""
    try:
        found = connection.execute(select(schema.alembic_version)).scalar_one_or_none()
    except DBAPIError as error:
        _end_reading(connection)
        if "no such table" not in str(error.orig):
            raise
        found = None
    _end_reading(connection)
    if found is not None:
        return str(found)
    return None


def _create(connection: Connection, path: Path) -> None:
    with connection.begin():
        count = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
        if count.scalar_one():
            raise StorageCorruptError(
                f"{path} is a database, but not one of culm: move it away or choose another"
                " data directory"
            )
        # The sqlite3 module begins a transaction only before a change of rows, not of tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        schema.metadata.create_all(connection, checkfirst=False)
        schema.alembic_version.create(connection)
        _stamp(connection, schema.alembic_version, version_num=schema.REVISION)
        _stamp(
            connection,
            schema.schema_history,
            revision=schema.REVISION,
            culm_version=schema.CULM_VERSION,
        )


def _stamp(connection: Connection, table: Table, **values: str) -> None:
    connection.execute(insert(table), values)


def _back_up(connection: Connection, path: Path, revision: str) -> None:
    """Copy the database beside itself; the copy is durable before the migration begins."""
    copy = path.with_name(f"{path.name}.before-{schema.REVISION}")
    copy.unlink(missing_ok=True)
    connection.exec_driver_sql("VACUUM INTO ?", (str(copy),))
    _end_reading(connection)
    copy.chmod(0o600)
    for each in (copy, copy.parent):
        descriptor = os.open(each, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    logger.info("storage.backed_up", extra={"copy": copy.name, "revision": revision})


def _upgrade(connection: Connection) -> None:
    # Alembic takes 300 ms to load, and is needed once in a release.
    from adapters.sql.migrations.upgrade import upgrade  # noqa: PLC0415

    upgrade(connection)


def _newer(connection: Connection, path: Path) -> StorageError:
    table = schema.schema_history
    query = select(table.c.culm_version).where(
        table.c.revision == select(schema.alembic_version.c.version_num).scalar_subquery()
    )
    try:
        version = connection.execute(query).scalar_one_or_none()
    except DBAPIError:
        version = None
    finally:
        _end_reading(connection)
    needed = "a newer version of it" if version is None else f"culm {version} or later"
    return StorageVersionError(f"{path} was written by a newer culm: install {needed}")


def _end_reading(connection: Connection) -> None:
    """Leave the transaction that SQLAlchemy began by itself."""
    connection.rollback()
