"""A wake-up call between tasks: rung any number of times, heard once."""

import asyncio


class Bell:
    """Wakes the one task that waits for it, at once or at a time to come."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """Wake the waiting task, or the next to wait."""
        self._event.set()

    def ring_at(self, when: float) -> None:
        """Ring at that time of the event loop, unless it rings earlier anyway."""
        loop = asyncio.get_running_loop()
        if when <= loop.time():
            self.ring()
            return
        if self._timer is not None:
            if self._timer.when() <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self._ring_timer)

    def _ring_timer(self) -> None:
        self._timer = None
        self._event.set()

    async def wait(self) -> None:
        """Wait until it rings."""
        await self._event.wait()
        self._event.clear()

    def stop(self) -> None:
        """Forget about a time to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
