"""Turns of the documents of one connection to catch up: a few at a time, those that were used last first.

A turn is short: who holds one for too long goes on without it, so that a document whose reader has stopped delays no
other.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

TURNS_MAX: Final = 4
"""Documents that catch up at once: while one waits for the disk, others send."""
TURN_S_MAX: Final = 2.0
Rank = tuple[int, float]


class Turns:
    """Gives turns, the highest rank first, and of equals who asked first."""

    def __init__(self) -> None:
        self._held = 0
        self._count = 0
        self._waiting: list[tuple[int, float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, rank: Rank) -> AsyncIterator[None]:
        """Wait for a turn, and hold it in the block. Cancelled, it passes to the next."""
        if self._held < TURNS_MAX:
            self._held += 1
        else:
            await self._wait(rank)
        turn = _Turn(self)
        try:
            yield
        finally:
            turn.end()

    async def _wait(self, rank: Rank) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._waiting, (-rank[0], -rank[1], self._count, granted))
        try:
            await granted
        except asyncio.CancelledError:
            if not granted.cancelled():  # it was granted in the same moment
                self.pass_on()
            raise

    def pass_on(self) -> None:
        """Give a turn that has ended to the next who waits."""
        while self._waiting:
            granted = heapq.heappop(self._waiting)[-1]
            if not granted.done():
                granted.set_result(None)
                return
        self._held -= 1


class _Turn:
    """A turn that ends once, with its block or with its time."""

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns | None = turns
        self._timer = asyncio.get_running_loop().call_later(TURN_S_MAX, self.end)

    def end(self) -> None:
        self._timer.cancel()
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.pass_on()
