"""What carries one connection between two hosts.

Things in the same lane arrive in the order in which they were sent; lanes overtake each other. While the way is
barred everything waits, and goes on when it is free again; if that takes too long both ends lose the connection.
Once a wire is cut nothing more arrives, at either end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from adapters.simulation.link import Link
from domain.connectivity.close_codes import CloseCode
from domain.limits import PEER_QUIET_S, PEER_SILENCE_S_MAX

NOTICE_SPREAD: Final = 0.2
"""The two ends of a dead connection notice it up to this share of the time apart, the later one when it is over."""
ALREADY_S: Final = 1e-9
"""What is due so soon is due: the resolution of the virtual clock."""

Lose = Callable[[int, str], None]
"""Tells an end that its connection is lost: code and reason."""


class Hear(Protocol):
    """Tells an end whether it hears the other."""

    def __call__(self, *, is_heard: bool) -> None:
        """Tell it."""


class Wire:
    """The two directions of one connection; side 0 dialled, side 1 was dialled.

    Args:
        loop: Whose time it uses.
        number: The number of the connection, for traces.
        hosts: The hosts at either side.
        links: From side 0 to side 1, and back.
        silence_s_max: How long nothing may arrive before both ends lose the connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        hosts: tuple[str, str],
        links: tuple[Link, Link],
        *,
        silence_s_max: float,
    ) -> None:
        self.number = number
        self.hosts = hosts
        self.links = links
        self._loop = loop
        self._silence_s_max = silence_s_max
        self._lanes: dict[tuple[int, bytes], _Lane] = {}
        self._is_barred = False
        self._is_cut = False
        self._losers: list[Lose | None] = [None, None]
        self._hearers: list[Hear | None] = [None, None]
        self._notices: list[asyncio.TimerHandle | None] = [None, None]
        self._doubts: list[asyncio.TimerHandle | None] = [None, None]
        self._snap_timer: asyncio.TimerHandle | None = None

    def attach(self, side: int, lose: Lose, hear: Hear) -> None:
        """Say how an end is told that the connection is lost, and whether it hears the other."""
        self._losers[side] = lose
        self._hearers[side] = hear

    def detach(self, side: int) -> None:
        """Say that an end knows of its end and need not be told again."""
        self._losers[side] = self._hearers[side] = None
        self._forget_notice(side)
        if self.is_over:
            self.cut()

    @property
    def is_over(self) -> bool:
        """Whether both ends have ended."""
        return self._losers == [None, None]

    def carry(
        self, side: int, lane_name: bytes, size_bytes: int, deliver: Callable[[], None]
    ) -> None:
        """Bring something over from that side, behind whatever went into the same lane before."""
        if self._is_cut:
            return
        lane = self._lanes.setdefault((side, lane_name), _Lane())
        arrival = self.links[side].arrival(self._loop.time(), size_bytes)
        if lane.waiting:
            arrival = max(arrival, lane.waiting[-1][0])
        lane.waiting.append((arrival, deliver))
        self._arm(side, lane_name, lane)

    def bar(self) -> None:
        """Bar the way, until `free`; the ends notice only if it lasts."""
        if self._is_barred or self._is_cut:
            return
        self._is_barred = True
        for lane in self._lanes.values():
            lane.disarm()
        random = self.links[0].random
        for side in (0, 1):
            early_s = random.random() * NOTICE_SPREAD * self._silence_s_max
            self._lose_later(side, self._silence_s_max - early_s)

    def free(self) -> None:
        """Free the way: what waited arrives after one more delay."""
        if not self._is_barred or self._is_cut:
            return
        self._is_barred = False
        for side in (0, 1):
            self._forget_notice(side)
            self._hear(side, is_heard=True)
        now = self._loop.time()
        for (side, name), lane in self._lanes.items():
            earliest = self.links[side].arrival(now, 0)
            lane.waiting = deque((max(at, earliest), deliver) for at, deliver in lane.waiting)
            self._arm(side, name, lane)

    def cut(self) -> None:
        """Let nothing more arrive."""
        self._is_cut = True
        if self._snap_timer is not None:
            self._snap_timer.cancel()
        for lane in self._lanes.values():
            lane.disarm()
        self._lanes.clear()

    def snap(self) -> None:
        """Cut the wire for no reason: each end notices within the time for which there may be silence."""
        self.cut()
        for side in (0, 1):
            self._lose_later(side, self.links[side].random.random() * self._silence_s_max)

    def snap_after(self, after_s: float) -> None:
        """Snap after so many seconds, if it lasts that long."""
        self._snap_timer = self._loop.call_later(after_s, self.snap)

    def crash(self, side: int, reason: str) -> None:
        """End one side at once, by a crash of its host; the other notices the silence."""
        self.cut()
        lose = self._losers[side]
        if lose is not None:
            lose(CloseCode.INTERNAL_ERROR, reason)
        self._lose_later(1 - side, self._silence_s_max)

    # --- Lanes ---

    def _arm(self, side: int, name: bytes, lane: "_Lane") -> None:
        if lane.timer is None and lane.waiting and not self._is_barred:
            at = lane.waiting[0][0]
            lane.timer = self._loop.call_at(at, self._deliver, side, name, lane)

    def _deliver(self, side: int, name: bytes, lane: "_Lane") -> None:
        lane.timer = None
        now = self._loop.time() + ALREADY_S
        while lane.waiting and lane.waiting[0][0] <= now and not self._is_cut:
            _, deliver = lane.waiting.popleft()
            deliver()
        if self._is_cut:
            return
        if lane.waiting:
            self._arm(side, name, lane)
        else:
            self._lanes.pop((side, name), None)

    # --- Silence ---

    def _lose_later(self, side: int, after_s: float) -> None:
        if self._losers[side] is not None and self._notices[side] is None:
            self._notices[side] = self._loop.call_later(after_s, self._lose, side)
            doubt_s = after_s * PEER_QUIET_S / PEER_SILENCE_S_MAX
            self._doubts[side] = self._loop.call_later(doubt_s, self._hear, side)

    def _hear(self, side: int, *, is_heard: bool = False) -> None:
        hear = self._hearers[side]
        if hear is not None:
            hear(is_heard=is_heard)

    def _lose(self, side: int) -> None:
        self._notices[side] = None
        lose = self._losers[side]
        if lose is not None:
            lose(CloseCode.TIMED_OUT, "nothing was heard from the peer for too long")

    def _forget_notice(self, side: int) -> None:
        for timers in (self._notices, self._doubts):
            timer = timers[side]
            if timer is not None:
                timer.cancel()
                timers[side] = None


class _Lane:
    """Things on their way in one direction that keep their order, and when each arrives."""

    __slots__ = ("timer", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self.timer: asyncio.TimerHandle | None = None

    def disarm(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def draw_lifetime_s(link: Link, random: Random) -> float | None:
    """Draw how long a connection over that link lasts, or None for ever."""
    mean_s = link.options.connection_lifetime_s
    return None if mean_s is None else random.expovariate(1 / mean_s)
