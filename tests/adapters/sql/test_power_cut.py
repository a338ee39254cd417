"""Power that fails at any moment costs nothing that was answered, whatever the disk had made of the rest.

What a disk holds after a power cut is made from what the files were at two sync points with a commit between them: of
all that changed since the first, any sectors may have arrived and any not, or the file ends early. That is more than a
real disk does. Between two answers SQLite first writes its log, and only once that is on disk the file.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Final

import pytest

from adapters.sql.database import SqlDatabase
from domain.ports.storage import StoredOperation
from tests.adapters.sql.running import open_database
from tests.contracts.operation_store import (
    document_id,
    in_order,
    log_key,
    make_log,
    make_operation,
    read_all,
)

CUTS: Final = int(os.environ.get("CULM_TEST_CUTS", "40"))
BATCHES: Final = 40
SECTOR_BYTES: Final = 512
JOURNAL_HEAD_BYTES: Final = 32
CHECKPOINT_PAGES: Final = 25
"""So that the file itself is written every few commits, not once in a thousand pages."""
VERSION: Final = b"version"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPoint:
    """What is on disk, and what was answered by then: so many operations, in so many batches."""

    file: bytes
    journal: bytes
    operations: int
    batches: int


def batches(random: Random) -> list[list[StoredOperation]]:
    """Batches of one to eight operations, small and large ones, of three logs."""
    heights = [0, 0, 0]
    made = []
    for _ in range(BATCHES):
        batch = []
        for _ in range(random.randint(1, 8)):
            author = random.randrange(3)
            body = random.randbytes(random.choice((0, 40, 40, 3_000, 20_000)))
            batch.append(make_operation(log_key(author), heights[author], body=body))
            heights[author] += 1
        made.append(batch)
    return made


def journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def look(path: Path, *, operations: int, count: int) -> SyncPoint:
    journal = journal_of(path)
    return SyncPoint(
        file=path.read_bytes(),
        journal=journal.read_bytes() if journal.exists() else b"",
        operations=operations,
        batches=count,
    )


async def live(path: Path, history: Sequence[Sequence[StoredOperation]]) -> list[SyncPoint]:
    """Append it all, and look at the disk whenever an answer has come, and at the end."""
    async with open_database(path) as database:
        await checkpoint_often(database)
        points = [look(path, operations=0, count=0)]
        operations = 0
        for count, batch in enumerate(history, 1):
            await database.store.append(document_id(1), batch, {VERSION: bytes([count])})
            operations += len(batch)
            points.append(look(path, operations=operations, count=count))
    return [*points, look(path, operations=operations, count=len(history))]


async def checkpoint_often(database: SqlDatabase) -> None:
    await database.store.save_document(document_id(1), b"record")  # connects the writer
    connection = database._writer._connection
    assert connection is not None
    connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.rollback()


def mixed(random: Random, before: bytes, after: bytes) -> bytes:
    """Of the sectors that differ any have arrived; the file has one of the two lengths, or one between."""
    share, length = random.random(), random.choice((len(before), len(after)))
    if len(after) > len(before):
        length = random.randint(len(before), len(after))
    data = bytearray(before.ljust(length, b"\0")[: max(length, len(before))])
    for start in range(0, len(after), SECTOR_BYTES):
        if random.random() < share:
            sector = after[start : start + SECTOR_BYTES]
            data[start : start + len(sector)] = sector
    return bytes(data[:length]) if length >= len(before) else bytes(data)


def mixed_journal(random: Random, before: bytes, after: bytes) -> bytes:
    """The same for the log: where it begins anew, SQLite has its head on disk before it writes any frame behind that.

    (`walFrames` in its `wal.c`: else an old head with new frames could bring back what was long overwritten.)
    """
    if before[:JOURNAL_HEAD_BYTES] == after[:JOURNAL_HEAD_BYTES] or not after:
        return mixed(random, before, after)
    renewed = after[:JOURNAL_HEAD_BYTES] + before[JOURNAL_HEAD_BYTES:]
    return random.choice((before, renewed, mixed(random, renewed, after)))


def cut_between(random: Random, before: SyncPoint, after: SyncPoint) -> tuple[bytes, bytes, bool]:
    """The file and its log after power failed between two sync points; and whether the later commit was on disk."""
    if before.file != after.file and random.random() < 1 / 2:
        journal = after.journal or before.journal  # it is deleted once the file is on disk
        return mixed(random, before.file, after.file), journal, True
    return before.file, mixed_journal(random, before.journal, after.journal), False


async def check(
    path: Path,
    history: Sequence[Sequence[StoredOperation]],
    least: SyncPoint,
    most: SyncPoint,
) -> None:
    """What was answered is there, a batch is there wholly or not at all, and appending goes on."""
    everything = [each for batch in history for each in batch]
    async with open_database(path) as database:
        await database.check()
        found = await read_all(database.store, document_id(1))
        assert len(found) in (least.operations, most.operations)
        assert found == in_order(everything[: len(found)])
        reached = most if len(found) == most.operations else least
        records = await database.store.records(document_id(1))
        assert records.get(VERSION, b"\0") == bytes([reached.batches])
        assert await database.store.append(document_id(1), make_log(9, 1)) == len(found) + 1


def restore(path: Path, file: bytes, journal: bytes) -> None:
    for each in path.parent.iterdir():
        each.unlink()
    path.write_bytes(file)
    if journal:
        journal_of(path).write_bytes(journal)


@pytest.mark.timeout(120 + CUTS)
async def test_power_that_fails_between_two_sync_points_loses_nothing_that_was_answered(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    history = batches(random)
    (tmp_path / "life").mkdir()
    points = await live(tmp_path / "life" / "culm.sqlite", history)
    assert sum(one.file != other.file for one, other in pairwise(points)) > 3
    (tmp_path / "cut").mkdir()
    path = tmp_path / "cut" / "culm.sqlite"
    for _ in range(CUTS):
        number = random.randrange(len(points) - 1)
        before, after = points[number], points[number + 1]
        file, journal, is_later = cut_between(random, before, after)
        restore(path, file, journal)
        await check(path, history, after if is_later else before, after)


async def test_files_as_they_are_at_a_sync_point_hold_what_was_answered(
    tmp_path: Path, seed: int
) -> None:
    history = batches(Random(seed))
    (tmp_path / "life").mkdir()
    points = await live(tmp_path / "life" / "culm.sqlite", history)
    (tmp_path / "cut").mkdir()
    path = tmp_path / "cut" / "culm.sqlite"
    for point in points[:: max(1, BATCHES // 10)]:
        restore(path, point.file, point.journal)
        await check(path, history, point, point)
