"""A process that is killed with SIGKILL at any moment loses no edit that it was told is on disk, and forks no log.

The full measure is a hundred kills: `CULM_TEST_KILLS=100 make test ARGS=tests/node/test_crash.py`.
"""

import asyncio
import os
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from domain.events import Event, OperationRefused, SecurityEvent
from node import Document, Node
from tests.node.writer import LOOPBACK, read, write

KILLS: Final = int(os.environ.get("CULM_TEST_KILLS", "12"))
COMMIT_S_FIRST: Final = 0.003
BEYOND: Final = 1.3  # kills come at any moment of a commit, and a little after it
WORDS_BEFORE_MAX: Final = 12
WAIT_S: Final = 60.0
SUSPICIOUS: Final = SecurityEvent | OperationRefused

CONTEXT: Final = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.node.writer"])


class Kills:
    """What a number of kills has shown.

    Attributes:
        acknowledged: The words that were said to be on disk.
        inside: How often the process was killed between asking for the disk and hearing of it.
        kept: How often the word that was asked about turned out to be on disk all the same.
    """

    def __init__(self, path: Path, invite: str, random: Random) -> None:
        self.acknowledged: set[str] = set()
        self.inside = 0
        self.kept = 0
        self._path = path
        self._invite = invite
        self._random = random
        self._next = 0
        self._commit_s = COMMIT_S_FIRST
        self._asked: str | None = None

    async def kill_once(self) -> None:
        """Start the process, check what it finds, let it write, kill it."""
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=write, args=(str(self._path), self._invite, self._next, theirs)
        )
        process.start()
        theirs.close()
        try:
            self._check(await take(ours, "found"))
            for _ in range(self._random.randrange(WORDS_BEFORE_MAX)):
                self._note_try(await take(ours, "try"))
                asked = time.perf_counter()
                self._note_done(await take(ours, "done"))
                self._commit_s = time.perf_counter() - asked
            self._note_try(await take(ours, "try"))
            await asyncio.sleep(self._random.uniform(0, BEYOND * self._commit_s))
        finally:
            process.kill()
            process.join(WAIT_S)
        await self._hear_the_rest(ours)
        ours.close()
        process.close()

    def _note_try(self, number: int) -> None:
        self._asked = f"w{number}"
        self._next = number + 1

    def _note_done(self, number: int) -> None:
        self.acknowledged.add(f"w{number}")
        self._asked = None

    async def _hear_the_rest(self, pipe: "Connection[Any, Any]") -> None:
        """What it had said before it was killed."""
        while True:
            try:
                what, number = await asyncio.to_thread(pipe.recv)
            except EOFError:
                break
            (self._note_try if what == "try" else self._note_done)(number)
        self.inside += self._asked is not None

    def _check(self, text: str) -> None:
        words = text.split()
        missing = self.acknowledged.difference(words)
        assert not missing, f"acknowledged, and gone: {sorted(missing)}"
        assert len(words) == len(set(words)), "a word twice"
        self.kept += self._asked in words


async def take(pipe: "Connection[Any, Any]", expected: str) -> Any:  # noqa: ANN401 - what a pipe gives
    async with asyncio.timeout(WAIT_S):
        what, value = await asyncio.to_thread(pipe.recv)
    assert what == expected
    return value


async def keep_suspicions(node: Node, suspicions: list[Event]) -> None:
    async for event in node.listen(lambda event: isinstance(event, SUSPICIOUS)):
        suspicions.append(event)  # noqa: PERF401 - it is looked at before the stream ends


async def until_equal(document: Document, text: str) -> None:
    async with asyncio.timeout(WAIT_S):
        await document.wait_until(lambda: str(document.text("text")) == text)


@pytest.mark.timeout(900)
async def test_no_acknowledged_edit_is_lost_and_no_log_forks_however_often_we_are_killed(
    tmp_path: Path, seed: int
) -> None:
    suspicions: list[Event] = []
    async with Node.open(tmp_path / "alice", LOOPBACK) as alice, asyncio.TaskGroup() as group:
        listening = group.create_task(keep_suspicions(alice, suspicions))
        document = await alice.create("words")
        invite = await document.invite()
        kills = Kills(tmp_path / "victim", invite, Random(seed))
        for number in range(KILLS):
            document.text("text").insert(0, f"a{number} ")
            await kills.kill_once()
        document.text("text").insert(0, "last ")

        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(
            target=read, args=(str(tmp_path / "victim"), invite, "last", theirs)
        )
        process.start()
        text = await take(ours, "found")
        await until_equal(document, text)
        process.join(WAIT_S)
        assert process.exitcode == 0
        kills._check(text)
        listening.cancel()
    assert not suspicions
    print(f"{KILLS} kills, {kills.inside} inside a commit; {kills.kept} of those had been stored")
    assert kills.inside >= KILLS // 5
