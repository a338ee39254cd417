"""The tables and their migrations, as text."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from adapters.sql import schema
from adapters.sql.migrations.upgrade import LOCATION


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(LOCATION))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_the_tables_are_those_of_the_last_migration() -> None:
    assert scripts().get_current_head() == schema.REVISION


def test_every_migration_is_known() -> None:
    known = {script.revision for script in scripts().walk_revisions()}
    assert known == schema.KNOWN_REVISIONS


def test_the_last_migration_names_the_version_that_knows_it() -> None:
    script = scripts().get_revision(schema.REVISION)
    assert script is not None
    assert script.module.CULM_VERSION == schema.CULM_VERSION


def test_every_migration_is_a_file_of_the_package() -> None:
    files = {Path(script.path).parent for script in scripts().walk_revisions()}
    assert files == {LOCATION / "versions"}


@pytest.mark.parametrize("table", schema.metadata.sorted_tables, ids=lambda table: table.name)
def test_the_table_can_be_made_in_postgresql(table: Table) -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    text = str(CreateTable(table).compile(dialect=dialect))
    assert "BLOB" not in text
    if "id" in table.c:
        assert "id BIGSERIAL" in text
