"""Waiting for something to have changed, without a task and without losing anything when cancelled."""

import asyncio


class Bell:
    """Wakes everybody who waits; who is woken looks again whether what he waits for is so.

    Args:
        loop: The loop of all who wait.
    """

    __slots__ = ("_loop", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiters: dict[asyncio.Future[None], None] = {}

    async def wait(self) -> None:
        """Wait for the next ring."""
        waiter = self._loop.create_future()
        self._waiters[waiter] = None
        try:
            await waiter
        finally:
            self._waiters.pop(waiter, None)

    def ring(self) -> None:
        """Wake all, in the order in which they came."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
