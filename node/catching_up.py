"""Who brings us what we lack of a document: one peer at a time, since all would bring the same.

A peer sends what we lack once it knows how far we are. So it is told that when it is its turn: when the one before has
brought everything, has brought nothing for a while, or has taken long.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final

IDLE_S_MAX: Final = 2.0
"""A peer that brings nothing for so long makes room for the next; it may go on beside it."""
BRING_S_MAX: Final = 30.0
"""And so does one that brings something all the time: another may be faster."""
Begin = Callable[[], bool]


class CatchingUp:
    """Gives turns, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._bringing: Hashable | None = None
        self._waiting: dict[Hashable, Begin] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._has_brought = False
        self._until = 0.0

    def ask(self, who: Hashable, begin: Begin) -> None:
        """Begin with somebody now, or when it is its turn.

        Args:
            who: Who may bring something.
            begin: Tells it how far we are, and gives whether it has something that we lack, as far as is known.
        """
        if self._bringing == who:
            begin()
        else:
            self._waiting[who] = begin
            self._go_on()

    def note_brought(self, who: Hashable) -> None:
        """Something has come from somebody."""
        if self._bringing == who:
            self._has_brought = True

    def end(self, who: Hashable) -> None:
        """Somebody has brought everything; if it has asked for another turn, it gets that."""
        if self._bringing == who:
            self._make_room()

    def leave(self, who: Hashable) -> None:
        """Somebody is gone."""
        self._waiting.pop(who, None)
        self.end(who)

    def _go_on(self) -> None:
        while self._waiting and self._bringing is None:
            who = next(iter(self._waiting))
            begin = self._waiting.pop(who)
            if begin():
                self._bringing = who
                self._until = asyncio.get_running_loop().time() + BRING_S_MAX
                self._wait()

    def _wait(self) -> None:
        self._has_brought = False
        self._timer = asyncio.get_running_loop().call_later(IDLE_S_MAX, self._look)

    def _look(self) -> None:
        if self._has_brought and asyncio.get_running_loop().time() < self._until:
            self._wait()
        else:
            self._make_room()

    def _make_room(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bringing = self._timer = None
        self._go_on()
