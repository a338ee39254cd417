"""Who brings us what we lack of a document: one peer at a time, since all would bring the same.

A peer sends what we lack once it knows how far we are. So it is told that when it is its turn: when the one before has
brought everything, has brought nothing for a while, or has taken long; or when it is known to have something more.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from domain.identifiers import LogKey

IDLE_S_MAX: Final = 4.0
"""A peer that brings nothing for so long makes room for the next; it may go on beside it."""
BRING_S_MAX: Final = 30.0
"""And so does one that brings something all the time: another may be faster."""
Heights = Mapping[LogKey, int]


class Bringer(Protocol):
    """A peer that may bring something."""

    def say_heights(self) -> None:
        """Tell it how far we are."""

    def brings(self) -> Heights | None:
        """Give how far the logs go there of which we lack something; None where it has not said that."""


@dataclass(slots=True)
class _Turn:
    until: float
    has_brought: bool = False
    timer: asyncio.TimerHandle | None = None


class CatchingUp:
    """Gives turns, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._turns: dict[Bringer, _Turn] = {}
        self._waiting: dict[Bringer, None] = {}

    def ask(self, who: Bringer) -> None:
        """Begin with somebody now, or when it is its turn."""
        if who in self._turns:
            who.say_heights()
        elif self._may_begin(who):
            self._begin(who)
        else:
            self._waiting[who] = None

    def note_heights(self, who: Bringer) -> None:
        """Somebody has said how far it is: of those who wait, some may be known to have more."""
        for each in tuple(self._waiting) if who in self._turns else ():
            if self._may_begin(each):
                self._begin(each)

    def note_brought(self, who: Bringer) -> None:
        """Something has come from somebody."""
        if who in self._turns:
            self._turns[who].has_brought = True

    def end(self, who: Bringer) -> None:
        """Somebody has brought everything; if it has asked for another turn, it gets that."""
        turn = self._turns.pop(who, None)
        if turn is not None:
            if turn.timer is not None:
                turn.timer.cancel()
            self._go_on()

    def leave(self, who: Bringer) -> None:
        """Somebody is gone."""
        self._waiting.pop(who, None)
        self.end(who)

    def _may_begin(self, who: Bringer) -> bool:
        """Whether nobody is bringing, or this one has nothing to bring, or something that no other is bringing."""
        brings = who.brings()
        if not self._turns or brings == {}:
            return True
        others = [each.brings() for each in self._turns]
        return brings is not None and any(
            all(other is not None and other.get(log, 0) < count for other in others)
            for log, count in brings.items()
        )

    def _begin(self, who: Bringer) -> None:
        self._waiting.pop(who, None)
        who.say_heights()
        if who.brings() != {}:
            self._turns[who] = _Turn(until=asyncio.get_running_loop().time() + BRING_S_MAX)
            self._wait(who)

    def _go_on(self) -> None:
        while self._waiting and not self._turns:
            self._begin(next(iter(self._waiting)))

    def _wait(self, who: Bringer) -> None:
        turn = self._turns[who]
        turn.has_brought = False
        turn.timer = asyncio.get_running_loop().call_later(IDLE_S_MAX, self._look, who)

    def _look(self, who: Bringer) -> None:
        turn = self._turns[who]
        if turn.has_brought and asyncio.get_running_loop().time() < turn.until:
            self._wait(who)
        else:
            self.end(who)
