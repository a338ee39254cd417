"""Watches whether a peer is heard: asks, shows that it is quiet, and gives it up at last.

The dialler asks for both ends, so the other one hears the question. A way that has gone shows sooner than silence does,
and comes back sooner than a new connection could: silence alone ends nothing before `PEER_SILENCE_S_MAX`.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from domain.connectivity.lifecycle import Lifecycle, State, Step
from domain.limits import KEEPALIVE_S, PEER_QUIET_S, PEER_SILENCE_S_MAX

_SLACK_S: Final = 0.001
"""What an event loop's timer may be early by."""


class SilenceOwner(NamedTuple):
    """What a watch tells its connection.

    Args:
        lifecycle: Takes the steps.
        ask: Send something that the peer answers; None for who leaves that to the other end.
        give_up: Nothing has been heard for too long.
    """

    lifecycle: Lifecycle
    ask: Callable[[], None] | None
    give_up: Callable[[], None]


class SilenceWatch:
    """The watch of one connection; its timers begin with `start`.

    Args:
        loop: Whose timers it uses.
        now: The time, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float]) -> None:
        self._loop = loop
        self._now = now
        self._owner: SilenceOwner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heard_at = now()

    def start(self, owner: SilenceOwner) -> None:
        """Watch from now on."""
        self._owner = owner
        self._timer = self._loop.call_later(KEEPALIVE_S, self._look)

    def stop(self) -> None:
        """Watch no more."""
        self._owner = None
        if self._timer is not None:
            self._timer.cancel()

    def hear(self, now: float) -> None:
        """Something has come from the peer."""
        self._heard_at = now
        if self._owner is not None and self._owner.lifecycle.state is State.QUIET:
            self._owner.lifecycle.take(Step.RECOVER, now=now)

    def lose_way(self) -> None:
        """No way to the peer answers any more."""
        if self._owner is not None and self._owner.lifecycle.may(Step.FALL_SILENT):
            self._owner.lifecycle.take(Step.FALL_SILENT, now=self._now())

    def _look(self) -> None:
        owner, silent_s = self._owner, self._now() - self._heard_at + _SLACK_S
        if owner is None:
            return
        if silent_s >= PEER_SILENCE_S_MAX:
            owner.give_up()
            return
        next_s = PEER_SILENCE_S_MAX
        if silent_s >= PEER_QUIET_S:
            self.lose_way()
        else:
            next_s = PEER_QUIET_S
            if owner.ask is not None and silent_s < KEEPALIVE_S:
                next_s = KEEPALIVE_S
            elif owner.ask is not None:
                owner.ask()
        self._timer = self._loop.call_later(next_s + _SLACK_S - silent_s, self._look)
