"""A process that is killed loses nothing that it was told is stored, and tears nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Timer
from typing import Final

import pytest

from tests.adapters.sql.running import open_database
from tests.contracts.arrival import check_logs_gapless
from tests.contracts.operation_store import (
    document_id,
    log_key,
    make_operation,
    peer_id,
    read_all,
)

ROOT: Final = Path(__file__).resolve().parents[3]
KILLS: Final = int(os.environ.get("CULM_TEST_KILLS", "20"))
BATCH: Final = 5
AUTHORS: Final = 4

APPEND_FOR_EVER: Final = f"""
import asyncio, os, sys
from pathlib import Path
from tests.adapters.sql.running import open_database
from tests.contracts.operation_store import document_id, log_key, make_operation, peer_id, read_all

async def append(database, author, height):
    while True:
        batch = [
            make_operation(log_key(author), seq_num, body=os.urandom(400))
            for seq_num in range(height, height + {BATCH})
        ]
        await database.store.append(document_id(1), batch)
        height += len(batch)
        await database.queue.acknowledge(peer_id(author), document_id(1), {{log_key(author): height}})
        print(author, height, flush=True)

async def main():
    async with open_database(Path(sys.argv[1])) as database, asyncio.TaskGroup() as group:
        heights = {{log_key(author): 0 for author in range({AUTHORS})}}
        for arrival in await read_all(database.store, document_id(1)):
            heights[arrival.operation.log] = arrival.operation.seq_num + 1
        for author in range({AUTHORS}):
            group.create_task(append(database, author, heights[log_key(author)]))

asyncio.run(main())
"""


def run_and_kill(path: Path, after_s: float) -> Iterator[tuple[int, int]]:
    """Let a process append until it is killed; say what it was told is stored: author, height."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND_FOR_EVER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    timer = Timer(after_s, process.kill)
    try:
        with process:
            assert process.stdout is not None
            for number, line in enumerate(process.stdout):
                if number == 0:
                    timer.start()
                if line.endswith("\n"):
                    author, height = line.split()
                    yield int(author), int(height)
    finally:
        timer.cancel()
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.timeout(60 + 5 * KILLS)
async def test_whatever_was_appended_survives_a_kill_at_any_moment(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "culm.sqlite"
    random = Random(seed)
    told = dict.fromkeys(range(AUTHORS), 0)
    for _ in range(KILLS):
        told.update(run_and_kill(path, random.uniform(0, 0.05)))
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        connection.close()
        async with open_database(path) as database:
            arrivals = await read_all(database.store, document_id(1))
            check_logs_gapless(arrivals)
            assert [each.index for each in arrivals] == list(range(1, len(arrivals) + 1))
            heights = {each.operation.log: each.operation.seq_num + 1 for each in arrivals}
            for author, height in told.items():
                stored = heights.get(log_key(author), 0)
                assert stored >= height
                assert stored % BATCH == 0
            acknowledged = await database.queue.acknowledged(document_id(1))
            for author in range(AUTHORS):
                peer_heights = acknowledged.get(peer_id(author), {})
                assert peer_heights.get(log_key(author), 0) <= heights.get(log_key(author), 0)
    assert min(told.values()) > 0


async def test_appending_goes_on_after_a_crash_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "culm.sqlite"
    told = dict(run_and_kill(path, 0.02))
    async with open_database(path) as database:
        count = len(await read_all(database.store, document_id(1)))
        next_one = make_operation(log_key(99), 0)
        assert await database.store.append(document_id(1), [next_one]) == count + 1
    assert told
