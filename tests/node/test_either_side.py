"""Two processes on real sockets, of which either is killed with SIGKILL at any time: they find each other again.

The full measure is a hundred kills: `CULM_TEST_KILLS=100 make test ARGS=tests/node/test_either_side.py`.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from tests.node.half import live

KILLS: Final = int(os.environ.get("CULM_TEST_KILLS", "6"))
ALIVE_S_MAX: Final = 0.4
WAIT_S: Final = 60.0

CONTEXT: Final = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.node.half"])


def free_address() -> str:
    """An address that stays the same when the process comes back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class Half:
    """One of the processes, however often it is started.

    Attributes:
        acknowledged: The words that it was told are on disk.
        found: What the document said when it came up last.
    """

    def __init__(self, name: str, path: Path, invite: str | None = None) -> None:
        self.acknowledged: set[str] = set()
        self.invite = invite
        self.found = ""
        self._name = name
        self._path = path
        self._address = free_address()
        self._next = 0
        self._process: Any = None
        self._pipe: Any = None
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it writes."""
        self._pipe, theirs = CONTEXT.Pipe()
        arguments = (str(self._path), self._address, self.invite, self._name, self._next, theirs)
        self._process = CONTEXT.Process(target=live, args=arguments)
        self._process.start()
        theirs.close()
        self._listening = asyncio.create_task(self._listen())
        self.found = await self._answer()
        missing = self.acknowledged.difference(self.found.split())
        assert not missing, f"acknowledged, and gone: {sorted(missing)}"

    async def kill(self) -> None:
        """Kill it, and hear what it had said before."""
        self._process.kill()
        self._process.join(WAIT_S)
        assert self._listening is not None
        await self._listening

    async def settle(self, words: set[str]) -> tuple[str, int]:
        """Let it wait for these words; give the text, and how many connections it has."""
        self._pipe.send(words)
        text, connections = await self._answer()
        return text, connections

    def end(self) -> None:
        """Let it end in good order."""
        self._pipe.send(None)
        self._process.join(WAIT_S)
        assert self._process.exitcode == 0

    def stop(self) -> None:
        """Leave no process behind."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()
            self._process.join(WAIT_S)

    async def _answer(self) -> Any:  # noqa: ANN401 - what a pipe gives
        async with asyncio.timeout(WAIT_S):
            return await self._answers.get()

    async def _listen(self) -> None:
        """Hear all that it says, until it is gone; one that is not listened to would stand still."""
        while True:
            try:
                what, value = await asyncio.to_thread(self._pipe.recv)
            except EOFError:
                return
            match what:
                case "invite":
                    self.invite = value
                case "try":
                    self._next = value + 1
                case "done":
                    self.acknowledged.add(f"{self._name}{value}")
                case _:
                    self._answers.put_nowait(value)


@asynccontextmanager
async def two_halves(path: Path) -> AsyncIterator[tuple[Half, Half]]:
    async with AsyncExitStack() as stack:
        founder = Half("a", path / "alice")
        stack.callback(founder.stop)
        await founder.start()
        joiner = Half("b", path / "bob", founder.invite)
        stack.callback(joiner.stop)
        await joiner.start()
        yield founder, joiner


@pytest.mark.timeout(1_800)
async def test_whichever_process_is_killed_both_come_back_and_lose_nothing(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    async with two_halves(tmp_path) as halves:
        for _ in range(KILLS):
            await asyncio.sleep(
                random.uniform(0, ALIVE_S_MAX)
            )  # the moment of the kill, not a wait
            victim = random.choice(halves)
            await victim.kill()
            await victim.start()
        await settle(halves, set())  # from here on nobody writes
        acknowledged = halves[0].acknowledged | halves[1].acknowledged
        (text, connections), (other, connections_there) = await settle(halves, acknowledged)
        words = text.split()
        assert sorted(words) == sorted(other.split())
        assert len(words) == len(set(words)), "a word twice"
        assert acknowledged <= set(words)
        assert connections == connections_there == 1
        for half in halves:
            half.end()


async def settle(halves: tuple[Half, Half], words: set[str]) -> list[tuple[str, int]]:
    return await asyncio.gather(*(half.settle(words) for half in halves))
