"""A damaged file never delivers an operation that was not written, and every failure is typed."""

import os
import sqlite3
from pathlib import Path
from random import Random
from typing import Final

import pytest

from domain.errors import StorageCorruptError, StorageError
from domain.identifiers import Position
from domain.ports.storage import Arrival, OperationStore, PeerRecord, Snapshot
from tests.adapters.sql.running import open_database
from tests.contracts.operation_store import (
    EVERYTHING,
    document_id,
    in_order,
    log_key,
    make_log,
    make_operation,
    peer_id,
    read_all,
)

FLIPS: Final = int(os.environ.get("CULM_TEST_FLIPS", "40"))

HISTORY: Final = [
    *make_log(1, 20),
    *make_log(2, 20),
    make_operation(log_key(3), 0, body=b"large" * 2_000),
    make_operation(log_key(3), 1, body=None),
    make_operation(log_key(3), 2, body=b""),
    *make_log(4, 20),
]
SNAPSHOT: Final = Snapshot(arrival_index=7, sealed=b"state" * 500)


async def fill(path: Path) -> None:
    async with open_database(path) as database:
        await database.store.save_document(document_id(1), b"record")
        await database.store.append(document_id(1), HISTORY)
        await database.store.save_snapshot(document_id(1), SNAPSHOT)
        record = PeerRecord(peer=peer_id(1), addresses=("127.0.0.1:1",), seen_us=5)
        await database.store.save_peer(record)
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 9})


async def use(path: Path) -> bool:
    """Open and read everything; whatever is delivered must be what was written."""
    expected = in_order(HISTORY)
    noticed = 0
    try:
        async with open_database(path) as database:
            store = database.store
            for read in (read_everything, read_one_by_one, read_what_is_missing, read_the_rest):
                try:
                    await read(store, expected)
                except StorageError:
                    noticed += 1
            try:
                await database.queue.acknowledged(document_id(1))
                await store.append(document_id(1), make_log(5, 3))
            except StorageError:
                noticed += 1
    except StorageError:
        noticed += 1
    return noticed > 0


async def read_everything(store: OperationStore, expected: list[Arrival]) -> None:
    arrivals = await read_all(store, document_id(1))
    # A log or a document may have lost its name; then what is under it is not delivered at all.
    assert arrivals in (expected, expected[: len(arrivals)])


async def read_one_by_one(store: OperationStore, expected: list[Arrival]) -> None:
    for each in HISTORY:
        try:
            position = Position(each.log, each.seq_num)
            assert await store.read_operation(document_id(1), position) in (each, None)
        except StorageCorruptError:
            continue


async def read_what_is_missing(store: OperationStore, expected: list[Arrival]) -> None:
    have = {log_key(1): 10, log_key(4): 19}
    found = await store.read_missing(
        document_id(1), have, after=0, count_max=EVERYTHING, bytes_max=EVERYTHING
    )
    assert all(each in expected for each in found)


async def read_the_rest(store: OperationStore, expected: list[Arrival]) -> None:
    assert await store.snapshot(document_id(1)) in (SNAPSHOT, None)
    await store.documents()
    await store.peers()
    await store.positions(document_id(1), [each.operation_id for each in HISTORY])


@pytest.mark.timeout(60 + FLIPS)
async def test_a_flipped_bit_anywhere_delivers_nothing_wrong(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    whole = path.read_bytes()
    random = Random(seed)
    noticed = 0
    for _ in range(FLIPS):
        damaged = bytearray(whole)
        damaged[random.randrange(len(whole))] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        noticed += await use(path)
        remove_journal(path)
    assert noticed


async def test_the_undamaged_file_delivers_everything(tmp_path: Path) -> None:
    await fill(tmp_path / "culm.sqlite")
    assert not await use(tmp_path / "culm.sqlite")


@pytest.mark.parametrize(
    "column",
    [
        "arrival = arrival + 1000",
        "seq_num = seq_num + 1000",
        "operation_id = zeroblob(32)",
        "row_check = 0",
        "header = 'text'",
        "body = zeroblob(4)",
        "body = NULL",
        "log = (SELECT log FROM operations WHERE body IS NULL)",
    ],
)
async def test_a_changed_column_is_noticed_and_named(tmp_path: Path, column: str) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    change(path, f"UPDATE operations SET {column} WHERE arrival = 5")
    async with open_database(path) as database:
        with pytest.raises(StorageCorruptError, match=f"document {document_id(1)}: operation"):
            await read_all(database.store, document_id(1))


async def test_a_lost_row_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    change(path, "DELETE FROM operations WHERE arrival = 5")
    async with open_database(path) as database:
        with pytest.raises(StorageCorruptError, match="operation number 5 to arrive"):
            await read_all(database.store, document_id(1))


async def test_a_damaged_operation_does_not_hide_the_others(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    change(path, "UPDATE operations SET body = zeroblob(4) WHERE arrival = 5")
    async with open_database(path) as database:
        page = {"count_max": EVERYTHING, "bytes_max": EVERYTHING}
        after = await database.store.read(document_id(1), after=5, **page)
        assert list(after) == in_order(HISTORY)[5:]


async def test_a_damaged_snapshot_is_no_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    for column in ("sealed = zeroblob(9)", "arrival = 8", "sealed = 'text'", "arrival = 'x'"):
        change(path, f"UPDATE snapshots SET {column}")
        async with open_database(path) as database:
            assert await database.store.snapshot(document_id(1)) is None
            await database.store.save_snapshot(document_id(1), SNAPSHOT)
            assert await database.store.snapshot(document_id(1)) == SNAPSHOT


async def test_a_damaged_peer_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    good = PeerRecord(peer=peer_id(2), addresses=("[::1]:1",), seen_us=6)
    async with open_database(path) as database:
        await database.store.save_peer(good)
    change(path, "UPDATE peers SET addresses = x'ff' WHERE seen_us = 5")
    async with open_database(path) as database:
        assert list(await database.store.peers()) == [good]


@pytest.mark.parametrize("column", ["sealed = 5", "sealed = 'text'", "document_id = 5"])
async def test_a_damaged_document_does_not_hide_the_others(tmp_path: Path, column: str) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    async with open_database(path) as database:
        await database.store.save_document(document_id(2), b"whole")
    change(path, f"UPDATE documents SET {column} WHERE sealed = CAST('record' AS BLOB)")
    async with open_database(path) as database:
        found = dict(await database.store.documents())
    assert found.pop(document_id(2)) == b"whole"
    assert found in ({}, {document_id(1): b""})


@pytest.mark.parametrize("column", ["sealed = 5", "sealed = 'text'", "name = 5", "name = 'text'"])
async def test_a_damaged_record_of_a_document_is_noticed(tmp_path: Path, column: str) -> None:
    path = tmp_path / "culm.sqlite"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 1), {b"name": b"sealed"})
    change(path, f"UPDATE records SET {column}")
    async with open_database(path) as database:
        with pytest.raises(StorageCorruptError, match=f"document {document_id(1)}"):
            await database.store.records(document_id(1))


@pytest.mark.parametrize("column", ["height = 'text'", "peer_id = x'00'", "peer_id = 5"])
async def test_a_damaged_height_is_left_out(tmp_path: Path, column: str) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    async with open_database(path) as database:
        await database.queue.acknowledge(peer_id(2), document_id(1), {log_key(1): 8})
    change(path, f"UPDATE acknowledged SET {column} WHERE height = 9")
    async with open_database(path) as database:
        kept = {peer_id(2): {log_key(1): 8}}
        assert await database.queue.acknowledged(document_id(1)) == kept


async def test_a_damaged_record_of_the_node_itself_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    async with open_database(path) as database:
        await database.store.save_own_record(b"bad", b"1")
        await database.store.save_own_record(b"good", b"2")
    change(path, "UPDATE own_records SET sealed = 5 WHERE name = x'626164'")
    async with open_database(path) as database:
        assert await database.store.own_records() == {b"good": b"2"}


def remove_journal(path: Path) -> None:
    for rest in (f"{path}-wal", f"{path}-shm"):
        Path(rest).unlink(missing_ok=True)


def change(path: Path, statement: str) -> None:
    """Change the file behind the back of the store."""
    connection = sqlite3.connect(path)
    assert connection.execute(statement).rowcount
    connection.commit()
    connection.close()


async def test_the_structure_of_an_open_database_can_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    await fill(path)
    async with open_database(path) as database:
        for _ in range(3):
            await database.check()
        assert await read_all(database.store, document_id(1)) == in_order(HISTORY)
