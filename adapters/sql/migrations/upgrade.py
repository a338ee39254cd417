"""Runs the migrations on an open connection."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from domain.errors import StorageError

LOCATION: Final = Path(__file__).parent


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, in one transaction: all migrations or none.

    Raises:
        StorageError: There is no way from the present revision to that one.
    """
    try:
        _upgrade(connection, revision)
    except CommandError as error:
        raise StorageError(
            f"the database cannot be upgraded ({error}): put the copy beside it back in place, and"
            " report this"
        ) from error


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    # A per cent sign begins an interpolation in Alembic's configuration.
    config.set_main_option("script_location", str(LOCATION).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    with connection.begin():
        # The sqlite3 module begins a transaction only before a change of rows, not of tables.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        command.upgrade(config, revision)
