"""Each write to the disk fails in turn: what was answered stays, the rest is a typed error, and goes on afterwards.

Two ways to make a real write fail: a limit on the size of files, by which a write fails at any byte, half of it
written; and strace, which makes the n-th call that writes, syncs or cuts a file fail. The second needs strace and the
right to trace; where that is not to be had, it is skipped and says so.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from domain.errors import StorageError
from domain.ports.storage import StoredOperation
from tests.adapters.sql.running import open_database
from tests.contracts.arrival import check_logs_gapless
from tests.contracts.operation_store import (
    document_id,
    in_order,
    log_key,
    make_log,
    make_operation,
    peer_id,
    read_all,
)

STEP: Final = int(os.environ.get("CULM_TEST_FAULT_STEP", "16"))
"""Every so many of the places where a write can fail; 1 for all of them."""
ROOT: Final = Path(__file__).resolve().parents[3]
SIZES: Final = (0, 10, 300, 9_000, 50, 50, 2_000, 0)
PAGE_BYTES: Final = 4_096
FRAME_BYTES: Final = 24 + PAGE_BYTES
TORN_BYTES: Final = (0, 11, 24, 24 + 1_000)
"""How much of a frame of the log is written before it fails: nothing, half its head, its head, a part of the page."""


def history() -> list[list[StoredOperation]]:
    """One batch for each size; each is a log of its own, so that any may be missing."""
    return [
        [make_operation(log_key(number), place, body=b"b" * size) for place in range(3)]
        for number, size in enumerate(SIZES)
    ]


@contextmanager
def files_limited(bytes_max: int) -> Iterator[None]:
    """Let every write beyond that size of any file fail; the part before it is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_heights_that_a_closing_database_cannot_write_are_let_go_of(tmp_path: Path) -> None:
    async with open_database(tmp_path / "culm.sqlite") as database:
        await database.store.append(document_id(1), make_log(1, 2))
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 2})
        with files_limited(1):
            await database.close()
        await database.queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 1})
        assert (
            database.queue._timer is None
        )  # by which it would be tried again, when the thread is gone


@pytest.fixture
async def base(tmp_path: Path) -> Path:
    """A database with a little in it, closed."""
    path = tmp_path / "base.sqlite"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(99, 3))
    return path


async def journal_bytes(base: Path, path: Path) -> int:
    """How long the log gets if nothing fails."""
    shutil.copyfile(base, path)
    async with open_database(path) as database:
        for batch in history():
            await database.store.append(document_id(1), batch)
        return path.with_name(f"{path.name}-wal").stat().st_size


async def append_all(path: Path, bytes_max: int) -> tuple[list[StoredOperation], int]:
    """Append under a limit, and what failed again without it; gives what was answered, in order, and the failures."""
    answered = make_log(99, 3)
    failed = []
    async with open_database(path) as database:
        with files_limited(bytes_max):
            for batch in history():
                try:
                    await database.store.append(document_id(1), batch)
                except StorageError:
                    failed.append(batch)
                else:
                    answered += batch
            assert await read_all(database.store, document_id(1)) == in_order(answered)
        for batch in failed:
            await database.store.append(document_id(1), batch)
            answered += batch
    return answered, len(failed)


@pytest.mark.timeout(600)
async def test_each_write_to_the_log_that_fails_or_is_torn_costs_its_own_batch_alone(
    tmp_path: Path, base: Path
) -> None:
    path = tmp_path / "culm.sqlite"
    length = await journal_bytes(base, path)
    places = [start + torn for start in range(32, length, FRAME_BYTES) for torn in TORN_BYTES]
    outcomes = set()
    for place in (0, 7, *places[::STEP]):
        shutil.copyfile(base, path)
        answered, failed = await append_all(path, place)
        outcomes.add(failed)
        async with open_database(path) as database:
            await database.check()
            assert await read_all(database.store, document_id(1)) == in_order(answered)
    assert len(outcomes) > 2


async def test_file_that_cannot_be_written_at_the_end_keeps_its_log(
    tmp_path: Path, base: Path
) -> None:
    path = tmp_path / "culm.sqlite"
    await journal_bytes(base, path)
    for bytes_max in range(PAGE_BYTES, path.stat().st_size + 1, PAGE_BYTES):
        shutil.copyfile(base, path)
        answered = make_log(99, 3)
        with ExitStack() as limits, suppress(StorageError):
            async with open_database(path) as database:
                for batch in history():
                    await database.store.append(document_id(1), batch)
                    answered += batch
                limits.enter_context(files_limited(bytes_max))  # so that it closes under it
        async with open_database(path) as database:
            await database.check()
            assert await read_all(database.store, document_id(1)) == in_order(answered)


# -- Every system call --

CALLS: Final = "pwrite64,fdatasync,fsync,ftruncate,unlink"
WRITE_ALL: Final = """
import asyncio, sys
from pathlib import Path
from domain.errors import StorageError
from tests.adapters.sql.running import open_database
from tests.adapters.sql.test_write_faults import history
from tests.contracts.operation_store import document_id

async def main():
    for _ in range(3):
        try:
            async with open_database(Path(sys.argv[1])) as database:
                for number, batch in enumerate(history()):
                    for _ in range(3):
                        try:
                            await database.store.append(document_id(1), batch)
                        except StorageError as error:
                            print("failed", type(error).__name__, flush=True)
                        else:
                            print("answered", number, flush=True)
                            break
            return
        except StorageError as error:
            print("failed", type(error).__name__, flush=True)

asyncio.run(main())
"""


def run_with_fault(path: Path, number: int, log: Path) -> tuple[set[int], bool]:
    """Let a process write it all while a call fails, or all from one on; gives what was answered, and if one did."""
    error, lasting = ("EIO", "ENOSPC")[number % 2], "+" if number % 3 == 0 else ""
    done = subprocess.run(
        [
            *("strace", "-f", "--quiet=all", "-o", str(log), "-e", f"trace={CALLS}"),
            *("-e", f"inject={CALLS}:error={error}:when={number}{lasting}"),
            *("-P", str(path), "-P", f"{path}-wal"),
            *(sys.executable, "-c", WRITE_ALL, str(path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert all(line[0] in ("answered", "failed") for line in lines)
    answered = {int(what) for word, what in lines if word == "answered"}
    return answered, "INJECTED" in log.read_text(encoding="utf-8")


@pytest.fixture
def tracing(tmp_path: Path) -> None:
    """The right to trace a process."""
    command = ["strace", "-f", "-o", str(tmp_path / "try"), "true"]
    try:
        is_possible = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_possible = False
    if not is_possible:
        pytest.skip("NOT TESTED: strace is not here, or may not trace")


@pytest.mark.slow
@pytest.mark.usefixtures("tracing")
@pytest.mark.timeout(1_800)
async def test_each_call_that_writes_or_syncs_fails_and_nothing_answered_is_lost(
    tmp_path: Path,
) -> None:
    expected = history()
    number, fired = 1, 0
    while True:
        path = tmp_path / f"{number}.sqlite"
        answered, has_fired = run_with_fault(path, number, tmp_path / "log")
        if not has_fired:
            break
        fired += 1
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        connection.close()
        async with open_database(path) as database:
            arrivals = await read_all(database.store, document_id(1))
            check_logs_gapless(arrivals)
            stored = [each.operation for each in arrivals]
            for batch in answered:
                assert all(each in stored for each in expected[batch])
        number += STEP
    assert fired > 60 // STEP
