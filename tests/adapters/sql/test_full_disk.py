"""A full disk costs nothing that is stored, is named, and ends when there is space again."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from adapters.sql.database import SqlDatabase
from domain.errors import StorageError, StorageFullError
from domain.identifiers import LogKey
from domain.ports.storage import OperationStore
from tests.adapters.sql.running import open_database
from tests.contracts.arrival import check_logs_gapless
from tests.contracts.operation_store import (
    document_id,
    log_key,
    make_log,
    make_operation,
    peer_id,
    read_all,
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    directory = tmp_path / "small"
    directory.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    if os.geteuid() or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("NOT TESTED: only root can mount a small disk, and not everywhere")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


async def append_until_full(store: OperationStore, author: int, body: bytes) -> int:
    """Append operations one by one until that fails; say how many."""
    for seq_num in count():
        operation = make_operation(log_key(author), seq_num, body=body)
        try:
            await store.append(document_id(1), [operation])
        except StorageFullError:
            return seq_num
    raise AssertionError


async def check_full_and_recovered(database: SqlDatabase, make_space: Callable[[], None]) -> None:
    """Fill the disk, make space, and go on."""
    store = database.store
    counts: dict[LogKey, int] = {}
    for author, body in ((1, b"x" * 30_000), (2, b"x" * 1_000), (3, b"")):
        counts[log_key(author)] = await append_until_full(store, author, body)
    arrivals = await read_all(store, document_id(1))
    check_logs_gapless(arrivals)
    for log, stored in counts.items():
        assert sum(each.operation.log == log for each in arrivals) == stored
    await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 1})
    await asyncio.to_thread(make_space)
    assert await store.append(document_id(1), make_log(4, 10)) == len(arrivals) + 10
    heights = await database.queue.acknowledged(document_id(1))
    assert heights == {peer_id(1): {log_key(1): 1}}


async def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    async with open_database(small_disk / "culm.sqlite") as database:
        await check_full_and_recovered(database, ballast.unlink)
    async with open_database(small_disk / "culm.sqlite") as database:
        check_logs_gapless(await read_all(database.store, document_id(1)))


async def test_a_database_that_a_full_disk_keeps_from_opening_says_so(small_disk: Path) -> None:
    path, ballast = small_disk / "culm.sqlite", small_disk / "ballast"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 3))
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(4_096)):
            pass
    with pytest.raises(StorageFullError, match="no space is left"):
        async with open_database(path):
            pass
    ballast.unlink()
    async with open_database(path) as database:
        assert len(await read_all(database.store, document_id(1))) == 3


async def test_a_full_database_fails_what_does_not_fit_and_nothing_else(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        store = database.store
        await store.append(document_id(1), make_log(0, 1))
        await set_pages_max(database, 100)
        counts = [await append_until_full(store, 1, b"x" * 30_000)]
        counts += [await append_until_full(store, 2, b"x" * 1_000)]
        arrivals = await read_all(store, document_id(1))
        assert len(arrivals) == 1 + sum(counts)
        await set_pages_max(database, 10_000)
        assert await store.append(document_id(1), make_log(3, 10)) == len(arrivals) + 10


async def test_a_large_batch_that_does_not_fit_leaves_room_for_small_ones(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        store = database.store
        await store.append(document_id(1), make_log(0, 1))
        await set_pages_max(database, 100)
        large = make_operation(log_key(1), 0, body=bytes(1_000_000))
        outcomes: dict[int, str] = {}

        async def append(author: int) -> None:
            batch = [large] if author == 1 else make_log(author, 1)
            try:
                await store.append(document_id(1), batch)
            except StorageError as error:
                outcomes[author] = type(error).__name__
            else:
                outcomes[author] = "stored"

        async with asyncio.TaskGroup() as group:
            for author in range(1, 9):
                group.create_task(append(author))
        assert outcomes == {1: "StorageFullError"} | dict.fromkeys(range(2, 9), "stored")


async def set_pages_max(database: SqlDatabase, pages: int) -> None:
    connection = database._writer._connection
    assert connection is not None
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    connection.rollback()
