"""Watches whether a peer is heard: asks, shows that it is quiet, and gives it up at last.

Mostly there is nothing to ask: the probes of the path below are heard every few seconds. The dialler asks for both
ends, so the other one hears the question. A way that has gone shows sooner than silence does, and comes back sooner
than a new connection could: silence alone ends nothing before `PEER_SILENCE_S_MAX`.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from domain.connectivity.lifecycle import Lifecycle, State, Step
from domain.limits import KEEPALIVE_S, PACKETS_KEEPALIVE_S, PEER_QUIET_S, PEER_SILENCE_S_MAX

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
        self._heard_at = self._packet_at = now()
        self._asked_at = float("-inf")

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

    def take_packet(self, now: float) -> None:
        """A packet of the connection has come: QUIC, too, counts that as a sign of life."""
        self.hear(now)
        self._packet_at = now

    def lose_way(self) -> None:
        """No way to the peer answers any more."""
        if self._owner is not None and self._owner.lifecycle.may(Step.FALL_SILENT):
            self._owner.lifecycle.take(Step.FALL_SILENT, now=self._now())

    def _look(self) -> None:
        owner, now = self._owner, self._now() + _SLACK_S
        if owner is None:
            return
        gone_at, quiet_at = self._heard_at + PEER_SILENCE_S_MAX, self._heard_at + PEER_QUIET_S
        if now >= gone_at:
            owner.give_up()
            return
        if now >= quiet_at:
            self.lose_way()
        if owner.ask is not None and now >= self._ask_at > self._asked_at:
            self._asked_at = now
            owner.ask()
        dues = (gone_at, quiet_at, self._ask_at if owner.ask is not None else gone_at)
        next_at = min(due for due in dues if due > now)
        self._timer = self._loop.call_later(next_at - now + 2 * _SLACK_S, self._look)

    @property
    def _ask_at(self) -> float:
        """When to ask, if nothing comes before."""
        return min(self._heard_at + KEEPALIVE_S, self._packet_at + PACKETS_KEEPALIVE_S)
