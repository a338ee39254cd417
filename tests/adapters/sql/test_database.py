"""Opening, closing, upgrading and sharing the database file."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import create_engine

from adapters.sql import schema
from adapters.sql.database import SqlDatabase
from adapters.sql.migrations.upgrade import upgrade
from domain.errors import (
    StorageCorruptError,
    StorageError,
    StorageReadOnlyError,
    StorageVersionError,
)
from domain.identifiers import DocumentId
from domain.limits import ACKNOWLEDGED_FLUSH_S
from domain.ports.storage import OperationStore
from tests.adapters.sql.running import open_database
from tests.contracts.operation_store import (
    document_id,
    in_order,
    log_key,
    make_log,
    peer_id,
    read_all,
)

ROOT = Path(__file__).resolve().parents[3]


def tables(path: Path) -> set[tuple[str, str, str]]:
    """Read the tables and indexes of a file, whatever the white space between their words."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    connection.close()
    return {(kind, name, " ".join(sql.replace(",", " ,").split())) for kind, name, sql in rows}


def run_sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def fill(path: Path) -> None:
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 3))


def sql_threads(*, ending: bool = False) -> list[threading.Thread]:
    """Find the threads of connections, once those that are ending have ended."""
    names = ("_connection_worker_thread", "culm-writer")
    found = [each for each in threading.enumerate() if any(name in each.name for name in names)]
    for each in found if ending else []:
        each.join(timeout=5)
    return [each for each in found if each.is_alive()]


def names(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


# --- the file ---


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 1))
        modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)}
    assert set(modes.values()) == {0o600}


async def test_closing_leaves_one_file_and_no_thread(tmp_path: Path) -> None:
    await fill(tmp_path / "culm.sqlite")
    assert names(tmp_path) == ["culm.sqlite"]
    assert sql_threads(ending=True) == []


async def test_a_path_with_odd_characters_is_taken_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "a b%20c?d#é"
    directory.mkdir()
    await fill(directory / "culm.sqlite")
    assert names(directory) == ["culm.sqlite"]


async def test_every_commit_is_flushed_to_disk(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        await database.store.save_document(document_id(1), b"record")
        connection = database._writer._connection
        assert connection is not None
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        connection.rollback()
        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_an_interpreter_exits_though_the_database_is_open() -> None:
    script = """
import asyncio, sys
from pathlib import Path
from tempfile import mkdtemp
from tests.adapters.sql.running import open_database

async def main():
    context = open_database(Path(mkdtemp()) / "culm.sqlite")
    database = await context.__aenter__()
    await database.store.documents()
    sys.stdout.write("open")
    sys.exit(3)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, timeout=30, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (3, b"open"), done.stderr.decode()


# --- versions ---


async def test_migrations_lead_to_the_same_tables_as_a_new_file(tmp_path: Path) -> None:
    migrated = create_engine(f"sqlite:///{tmp_path}/migrated.sqlite")
    with migrated.connect() as connection:
        upgrade(connection)
    migrated.dispose()
    await fill(tmp_path / "new.sqlite")
    ours = {each for each in tables(tmp_path / "migrated.sqlite") if "alembic" not in each[1]}
    assert ours == {each for each in tables(tmp_path / "new.sqlite") if "alembic" not in each[1]}
    async with open_database(tmp_path / "migrated.sqlite") as database:
        await database.store.append(document_id(1), make_log(1, 1))


def make_old_file(path: Path, revision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a file of a version before the first."""
    run_sql(
        path,
        "CREATE TABLE alembic_version (version_num VARCHAR(32) PRIMARY KEY)",
        "CREATE TABLE old (x)",
        f"INSERT INTO alembic_version VALUES ('{revision}')",
    )
    monkeypatch.setattr(schema, "KNOWN_REVISIONS", {revision, schema.REVISION})


async def test_an_older_file_is_copied_and_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "culm.sqlite"
    make_old_file(path, "base", monkeypatch)  # so Alembic calls what comes before the first
    before = tables(path)
    await fill(path)
    assert {name for _, name, _ in tables(path)} >= {"old", "operations"}
    copy = tmp_path / "culm.sqlite.before-0002"
    assert sorted(names(tmp_path)) == [path.name, copy.name]
    assert tables(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


async def test_a_file_of_the_first_tables_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    first = create_engine(f"sqlite:///{path}")
    with first.connect() as connection:
        upgrade(connection, "0001")
    first.dispose()
    run_sql(path, "INSERT INTO documents (document_id, sealed) VALUES (zeroblob(32), x'01')")
    async with open_database(path) as database:
        assert await database.store.documents() == {DocumentId(bytes(32)): b"\x01"}
        await database.store.save_own_record(b"name", b"sealed")
        assert await database.store.own_records() == {b"name": b"sealed"}


async def test_an_upgrade_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for revision in ("base", "unheard-of"):
        path = tmp_path / revision
        make_old_file(path, revision, monkeypatch)
        # The last of the tables is there already, so the migration fails at its end.
        run_sql(path, "CREATE TABLE schema_history (x)")
        before = tables(path)
        with pytest.raises(StorageError):
            await fill(path)
        assert tables(path) == before


async def test_a_file_of_a_newer_version_is_refused_with_the_version_needed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    run_sql(
        path,
        "UPDATE alembic_version SET version_num = '0099'",
        "INSERT INTO schema_history VALUES ('0099', '7.3.0')",
    )
    before = path.read_bytes()
    with pytest.raises(StorageVersionError, match=r"install culm 7\.3\.0 or later"):
        await fill(path)
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    run_sql(path, "CREATE TABLE theirs (x)")
    with pytest.raises(StorageCorruptError, match="not one of culm"):
        await fill(path)
    assert {name for _, name, _ in tables(path)} == {"theirs"}


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    content = b"not a database, but a text" * 100
    path.write_bytes(content)
    with pytest.raises(StorageCorruptError, match="is damaged"):
        await fill(path)
    assert path.read_bytes() == content


async def test_a_truncated_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    whole = path.read_bytes()
    for size in range(4_096, len(whole), 4_096):
        path.write_bytes(whole[:size])
        with pytest.raises(StorageCorruptError, match="is damaged"):
            await fill(path)
        assert path.read_bytes() == whole[:size]


async def test_a_directory_in_place_of_the_file_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await fill(tmp_path)
    with pytest.raises(StorageError):
        await fill(tmp_path / "missing" / "culm.sqlite")


@contextmanager
def made_read_only(directory: Path) -> Iterator[None]:
    """Let nobody write in a directory, not even root."""
    if os.geteuid():
        directory.chmod(0o500)
        yield
        directory.chmod(0o700)
        return
    mounts = (["--bind", str(directory), str(directory)], ["-o", "remount,bind,ro", str(directory)])
    for arguments in mounts:
        if subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode:
            pytest.skip("NOT TESTED: root may write everywhere, and may not mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


async def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data" / "culm.sqlite"
    path.parent.mkdir()
    with made_read_only(path.parent), pytest.raises(StorageReadOnlyError, match="may not be"):
        await fill(path)
    await fill(path)
    with made_read_only(path.parent), pytest.raises(StorageReadOnlyError, match="may not be"):
        await fill(path)


async def test_a_file_system_that_became_read_only_still_serves_reads(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        store = database.store
        await store.append(document_id(1), make_log(1, 3))
        await set_writable(database, is_writable=False)
        with pytest.raises(StorageReadOnlyError, match="may not be written"):
            await store.append(document_id(1), make_log(2, 3))
        assert await read_all(store, document_id(1)) == in_order(make_log(1, 3))
        await set_writable(database, is_writable=True)
        assert await store.append(document_id(1), make_log(2, 3)) == 6


async def set_writable(database: SqlDatabase, *, is_writable: bool) -> None:
    connection = database._writer._connection
    assert connection is not None
    connection.exec_driver_sql(f"PRAGMA query_only = {int(not is_writable)}")
    connection.rollback()


# --- the end ---


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        pass
    store = database.store
    with pytest.raises(StorageError, match="closed"):
        await store.append(document_id(1), make_log(1, 1))
    with pytest.raises(StorageError, match="closed"):
        await read_all(store, document_id(1))


async def test_what_waits_is_written_before_the_database_closes(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    async with asyncio.TaskGroup() as group:
        async with SqlDatabase.open(path) as database:
            # No worker runs: closing does the work itself.
            waiting = group.create_task(database.store.append(document_id(1), make_log(1, 3)))
            await asyncio.sleep(0)
            await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 3})
        assert await waiting == 3
    async with open_database(path) as database:
        assert await read_all(database.store, document_id(1)) == in_order(make_log(1, 3))
        found = await database.queue.acknowledged(document_id(1))
        assert found == {peer_id(1): {log_key(1): 3}}


async def test_closing_waits_for_workers_that_run_elsewhere(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        async with SqlDatabase.open(tmp_path / "culm.sqlite") as database:
            workers = [group.create_task(worker()) for worker in database.workers]
            await database.store.append(document_id(1), make_log(1, 3))
            await database.store.documents()
            group.create_task(read_until_closed(database.store))
            group.create_task(read_until_closed(database.store))
            await database.store.documents()
        assert sql_threads(ending=True) == []
    assert all(worker.done() for worker in workers)


async def read_until_closed(store: OperationStore) -> None:
    with pytest.raises(StorageError, match="closed"):
        await asyncio.wait_for(read_for_ever(store), timeout=30)


async def read_for_ever(store: OperationStore) -> None:
    while True:
        await read_all(store, document_id(1))


async def test_cancelled_workers_tell_those_who_wait(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    random = Random(1)
    stored: dict[int, bool] = {}

    async def append(store: OperationStore, author: int) -> None:
        try:
            await store.append(document_id(1), make_log(author, 3))
        except StorageError:
            stored[author] = False
        else:
            stored[author] = True

    for attempt in range(10):
        async with SqlDatabase.open(path) as database, asyncio.TaskGroup() as group:
            workers = [group.create_task(worker()) for worker in database.workers]
            for author in range(attempt * 10, attempt * 10 + 10):
                group.create_task(append(database.store, author))
            for _ in range(random.randint(0, 60)):
                await asyncio.sleep(0.0001)
            for worker in workers:
                worker.cancel()
    assert stored.keys() == set(range(100))
    assert sql_threads(ending=True) == []
    async with open_database(path) as database:
        counts: dict[object, int] = {}
        for arrival in await read_all(database.store, document_id(1)):
            counts[arrival.operation.log] = counts.get(arrival.operation.log, 0) + 1
        assert set(counts.values()) <= {3}
        assert counts.keys() >= {log_key(author) for author, done in stored.items() if done}


async def test_an_opening_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    for turns in range(40):
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(fill(path))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
    assert sql_threads(ending=True) == []
    await fill(path)
    assert names(tmp_path) == [path.name]


async def test_cancelled_callers_cost_no_connection(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        store = database.store
        await store.append(document_id(1), make_log(1, 10))
        await read_all(store, document_id(1))
        threads = len(sql_threads())
        random = Random(2)
        for author in range(2, 302):
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(store.append(document_id(1), make_log(author, 1))),
                    group.create_task(store.documents()),
                    group.create_task(store.save_document(document_id(1), b"record")),
                ]
                for _ in range(random.randint(0, 30)):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
        assert len(sql_threads()) <= threads + 1
        assert await store.append(document_id(1), make_log(1_000, 1)) >= 11


# --- acknowledged heights ---


async def test_heights_are_written_soon_though_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    async with open_database(path) as database, asyncio.timeout(10 * ACKNOWLEDGED_FLUSH_S):
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 3})
        assert heights_on_disk(path) == []
        while not heights_on_disk(path):
            await database.store.documents()  # takes a while, and does not bother the writer


def heights_on_disk(path: Path) -> list[tuple[int]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT height FROM acknowledged").fetchall()
    connection.close()
    return rows


async def test_heights_ride_along_with_the_next_change_but_not_with_operations(
    tmp_path: Path,
) -> None:
    path = tmp_path / "culm.sqlite"
    async with open_database(path) as database:
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 3})
        await database.store.append(document_id(1), make_log(1, 3))
        assert heights_on_disk(path) == []
        await database.store.save_document(document_id(1), b"record")
        assert heights_on_disk(path) == [(3,)]


async def test_heights_that_could_not_be_written_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    expected = {peer_id(1): {log_key(1): 4, log_key(2): 2}}
    async with open_database(path) as database:
        await database.store.save_document(document_id(1), b"record")
        await set_writable(database, is_writable=False)
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 3, log_key(2): 2})
        with pytest.raises(StorageReadOnlyError):
            await database.store.save_document(document_id(1), b"other")
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 4})
        assert await database.queue.acknowledged(document_id(1)) == expected
        await set_writable(database, is_writable=True)
    async with open_database(path) as database:
        assert await database.queue.acknowledged(document_id(1)) == expected


async def test_forgetting_a_document_forgets_who_has_it(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        for document in (document_id(1), document_id(2)):
            await database.store.append(document, make_log(1, 3))
            await database.queue.acknowledge(peer_id(1), document, {log_key(1): 3})
        await database.store.forget(document_id(1))
        assert await database.queue.acknowledged(document_id(1)) == {}
        assert await database.queue.acknowledged(document_id(2)) == {peer_id(1): {log_key(1): 3}}
