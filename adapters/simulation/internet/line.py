"""One direction of a line: how long packets take on it, and which of them it loses, doubles or lets others overtake."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

from adapters.simulation.internet.packet import Packet

MTU_BYTES: Final = 1_500
ALREADY_S: Final = 1e-9
"""What is due so soon is due: the resolution of the virtual clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstLoss:
    """The model of Gilbert and Elliott: a line is well or ill, and each packet may change that.

    `fall` and `recover` are the chances that a packet finds it changed for the worse and for the better; `loss` is the
    share lost while it is ill. The mean burst is `1 / recover` packets.
    """

    fall: float
    recover: float
    loss: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LineOptions:
    """How a line behaves.

    `delay_s` is the least time; `jitter_s` the most that chance adds to it, order kept; `bytes_per_s` the rate, without
    limit if None, and `queue_bytes` what may wait for it before more is lost; `loss`, `duplication` and `reordering`
    are shares of packets; a reordered packet comes `reordering_s` later than it would, while others overtake it.
    """

    delay_s: float = 0.010
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    queue_bytes: int = 256 * 1024
    loss: float = 0.0
    burst_loss: BurstLoss | None = None
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_s: float = 0.010
    mtu_bytes: int = MTU_BYTES


LAN: Final = LineOptions(delay_s=0.000_2)
"""A cable in a house."""


class Drop(Enum):
    """Why a packet did not arrive."""

    LOST = "lost"
    QUEUE_FULL = "queue full"
    TOO_LARGE = "too large"
    DOWN = "down"
    NO_ROUTE = "no route"
    FILTERED = "filtered"
    PARTITIONED = "partitioned"
    NOBODY = "nobody listens"


@dataclass(slots=True, kw_only=True)
class LineStatistics:
    """What was given to a line, and what came out."""

    sent_packets: int = 0
    sent_bytes: int = 0
    dropped_packets: int = 0
    doubled_packets: int = 0
    reordered_packets: int = 0


class Line:
    """One direction.

    Args:
        loop: Whose time it uses.
        options: How it behaves; may be replaced at any time.
        random: What chance follows.
        deliver: Takes what arrives.
        drop: Is told of what does not.

    Attributes:
        is_up: While false everything on it is lost, what is under way included.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: LineOptions,
        random: Random,
        deliver: Callable[[Packet], None],
        drop: Callable[[Packet, Drop], None],
    ) -> None:
        self.options = options
        self.is_up = True
        self.statistics = LineStatistics()
        self._loop = loop
        self._random = random
        self._deliver = deliver
        self._tell_drop = drop
        self._busy_until = 0.0
        self._last_arrival = 0.0
        self._is_ill = False
        self._lane: deque[tuple[float, Packet]] = deque()
        self._is_armed = False

    def send(self, packet: Packet) -> None:
        """Put a packet on the line."""
        options, now = self.options, self._loop.time()
        size = packet.size_bytes
        self.statistics.sent_packets += 1
        self.statistics.sent_bytes += size
        if not self.is_up:
            return self._drop(packet, Drop.DOWN)
        if size > options.mtu_bytes:
            return self._drop(packet, Drop.TOO_LARGE)
        departed = now
        if options.bytes_per_s is not None:
            waiting_bytes = max(0.0, self._busy_until - now) * options.bytes_per_s
            if waiting_bytes + size > options.queue_bytes:
                return self._drop(packet, Drop.QUEUE_FULL)
            departed = max(now, self._busy_until) + size / options.bytes_per_s
            self._busy_until = departed
        if self._loses():
            return self._drop(packet, Drop.LOST)
        self._carry(packet, departed)
        if self._happens(options.duplication):
            self.statistics.doubled_packets += 1
            self._carry(packet, departed)
        return None

    def _loses(self) -> bool:
        burst = self.options.burst_loss
        if burst is not None:
            change = burst.recover if self._is_ill else burst.fall
            if self._happens(change):
                self._is_ill = not self._is_ill
            if self._is_ill and self._happens(burst.loss):
                return True
        return self._happens(self.options.loss)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def _carry(self, packet: Packet, departed: float) -> None:
        options = self.options
        arrival = departed + options.delay_s
        if options.jitter_s:
            arrival += self._random.random() * options.jitter_s
        if self._happens(options.reordering):
            self.statistics.reordered_packets += 1
            self._loop.call_at(arrival + options.reordering_s, self._arrive, packet)
            return
        self._last_arrival = max(arrival, self._last_arrival)
        self._lane.append((self._last_arrival, packet))
        if not self._is_armed:
            self._is_armed = True
            self._loop.call_at(self._last_arrival, self._deliver_due)

    def _deliver_due(self) -> None:
        # One timer for the line: timers of the same instant would not keep the order of its packets.
        now = self._loop.time() + ALREADY_S
        while self._lane and self._lane[0][0] <= now:
            self._arrive(self._lane.popleft()[1])
        self._is_armed = bool(self._lane)
        if self._lane:
            self._loop.call_at(self._lane[0][0], self._deliver_due)

    def _arrive(self, packet: Packet) -> None:
        if self.is_up:
            self._deliver(packet)
        else:
            self._drop(packet, Drop.DOWN)

    def _drop(self, packet: Packet, why: Drop) -> None:
        self.statistics.dropped_packets += 1
        self._tell_drop(packet, why)
