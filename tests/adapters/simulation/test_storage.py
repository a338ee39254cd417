import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.simulation.disk import SimulatedDisk
from adapters.simulation.storage import MemoryDatabase, MemoryOperationQueue, MemoryOperationStore
from domain.errors import StorageCorruptError, StorageError, StorageFullError
from domain.ports.storage import OperationQueue, OperationStore, Snapshot
from tests.contracts.operation_queue import OpenQueue, OperationQueueContract
from tests.contracts.operation_store import (
    OpenStore,
    document_id,
    log_key,
    make_log,
    peer_id,
    read_all,
)
from tests.contracts.splitting import SplittingStoreContract


def open_disk(seed: int = 1) -> SimulatedDisk:
    return SimulatedDisk(asyncio.get_running_loop(), seed, "alpha")


class TestMemoryOperationStore(SplittingStoreContract):
    @asynccontextmanager
    async def place(self) -> AsyncIterator[OpenStore]:
        disk = open_disk()

        @asynccontextmanager
        async def open_store() -> AsyncIterator[OperationStore]:
            async with MemoryDatabase.open(disk) as database:
                yield database.store

        yield open_store


class TestMemoryOperationQueue(OperationQueueContract):
    @asynccontextmanager
    async def place(self) -> AsyncIterator[OpenQueue]:
        disk = open_disk()

        @asynccontextmanager
        async def open_queue() -> AsyncIterator[OperationQueue]:
            async with MemoryDatabase.open(disk) as database:
                yield database.queue

        yield open_queue


async def stored_count(disk: SimulatedDisk) -> int:
    return len(await read_all(MemoryOperationStore(disk), document_id(1)))


async def test_a_crash_loses_only_what_was_not_committed(seed: int) -> None:
    """Goal: what `append` returned for survives; the batch in flight is whole or gone; later ones are gone."""
    outcomes = set()
    for number in range(40):
        disk = open_disk(seed + number)
        store = MemoryOperationStore(disk)
        await store.append(document_id(1), make_log(1, 3))
        async with asyncio.TaskGroup() as group:
            for author in (2, 3):
                group.create_task(fails_with(store, author, StorageError))
            await asyncio.sleep(0)
            disk.crash()
        stored = await stored_count(disk)
        outcomes.add(stored)
        again = MemoryOperationStore(disk)
        assert await again.append(document_id(1), make_log(2, 5)) == 8
    assert outcomes == {3, 8}


async def fails_with(store: OperationStore, author: int, expected: type[StorageError]) -> None:
    with pytest.raises(expected):
        await store.append(document_id(1), make_log(author, 5))


async def test_a_store_of_before_a_crash_is_dead() -> None:
    disk = open_disk()
    store, queue = MemoryOperationStore(disk), MemoryOperationQueue(disk)
    disk.crash()
    with pytest.raises(StorageError):
        await store.append(document_id(1), make_log(1, 1))
    with pytest.raises(StorageError):
        await store.documents()
    with pytest.raises(StorageError):
        await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 1})
    await store.close()
    await queue.close()
    assert await stored_count(disk) == 0


async def test_a_full_disk_stores_nothing_until_there_is_space() -> None:
    disk = open_disk()
    store = MemoryOperationStore(disk)
    disk.fill(after_writes=2)
    await store.append(document_id(1), make_log(1, 1))
    await store.save_document(document_id(1), b"record")
    for _ in range(3):
        await fails_with(store, 2, StorageFullError)
    with pytest.raises(StorageFullError):
        await store.save_document(document_id(1), b"other")
    assert await stored_count(disk) == 1
    assert await store.documents() == {document_id(1): b"record"}
    disk.mend()
    assert await store.append(document_id(1), make_log(2, 5)) == 6


async def test_one_write_fails_and_the_next_does_not() -> None:
    disk = open_disk()
    store = MemoryOperationStore(disk)
    disk.fail(StorageError("the disk had a hiccup"), after_writes=1, lasts=False)
    await store.append(document_id(1), make_log(1, 1))
    await fails_with(store, 2, StorageError)
    assert await store.append(document_id(1), make_log(2, 5)) == 6


async def test_a_slow_disk_takes_its_time() -> None:
    disk = open_disk()
    disk.write_s = (3.0, 3.0)
    store = MemoryOperationStore(disk)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await store.append(document_id(1), make_log(1, 1))
    assert loop.time() - started == pytest.approx(3.0)


async def test_a_crash_loses_the_heights_of_the_last_second_alone() -> None:
    disk = open_disk()
    queue = MemoryOperationQueue(disk)
    await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 5})
    await queue.acknowledge(peer_id(1), document_id(2), {log_key(1): 8})
    await asyncio.sleep(1.5)
    await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 6, log_key(2): 1})
    await asyncio.sleep(0.5)
    await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 7})
    disk.crash()
    after = MemoryOperationQueue(disk)
    assert await after.acknowledged(document_id(1)) == {peer_id(1): {log_key(1): 5}}
    assert await after.acknowledged(document_id(2)) == {peer_id(1): {log_key(1): 8}}


async def test_an_orderly_close_after_a_crash_saves_nothing() -> None:
    disk = open_disk()
    async with MemoryDatabase.open(disk) as database:
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 5})
        disk.crash()
    async with MemoryDatabase.open(disk) as database:
        assert await database.queue.acknowledged(document_id(1)) in ({}, {peer_id(1): {}})


async def test_a_crash_brings_back_nothing_about_a_forgotten_document() -> None:
    disk = open_disk()
    store, queue = MemoryOperationStore(disk), MemoryOperationQueue(disk)
    await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 5})
    await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 6})
    await store.forget(document_id(1))
    disk.crash()
    assert await MemoryOperationQueue(disk).acknowledged(document_id(1)) == {}


async def test_damage_is_noticed_when_it_is_read() -> None:
    disk = open_disk()
    store = MemoryOperationStore(disk)
    await store.append(document_id(1), make_log(1, 5))
    await store.save_snapshot(document_id(1), Snapshot(arrival_index=5, sealed=b"state"))
    disk.damage_operation(document_id(1), 3)
    disk.damage_snapshot(document_id(1))
    with pytest.raises(StorageCorruptError):
        await read_all(store, document_id(1))
    assert len(await store.read(document_id(1), after=3, count_max=9, bytes_max=9_999)) == 2
    assert await store.snapshot(document_id(1)) is None
    await store.discard(document_id(1), {log_key(1): 4})
    with pytest.raises(StorageCorruptError):
        await store.discard(document_id(1), {log_key(1): 2})
    assert len(await store.read(document_id(1), after=3, count_max=9, bytes_max=9_999)) == 1
