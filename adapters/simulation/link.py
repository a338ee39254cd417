"""The way from one host to another: how long it takes, and what went over it."""

from dataclasses import dataclass
from enum import Enum
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How a link behaves, the same in both directions.

    `delay_s` is the least time one way; `jitter_s` is the most that chance adds to it, for each message anew, so that
    messages of different channels overtake each other; `bytes_per_s` is the rate, without limit if None;
    `connection_lifetime_s` is the mean of how long a connection lasts before it breaks, for ever if None.
    """

    delay_s: float = 0.010
    jitter_s: float = 0.0
    bytes_per_s: float | None = None
    connection_lifetime_s: float | None = None


@dataclass(slots=True, kw_only=True)
class LinkStatistics:
    """What was sent over a link in one direction, lost or not."""

    message_count: int = 0
    message_bytes: int = 0


class TraceKind(Enum):
    """What a trace event tells of."""

    OPENED = "opened"
    """A connection was made; the sender dialled."""
    SENT = "sent"
    """A message left the sender."""
    DELIVERED = "delivered"
    """A message reached the receiver."""
    ENDED = "ended"
    """The sender's end of a connection ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEvent:
    """Something that happened on the network, from the host `sender` to the host `receiver`.

    `connection` counts connections from 1; `channel` is the name of the channel, empty for the control channel;
    `message` is the whole message, or the reason for the end.
    """

    time_s: float
    kind: TraceKind
    sender: str
    receiver: str
    connection: int
    channel: bytes = b""
    message: bytes = b""


class Link:
    """One direction of the way between two hosts.

    Args:
        options: How it behaves; may be replaced at any time.
        random: Where its jitter comes from.
    """

    def __init__(self, options: LinkOptions, random: Random) -> None:
        self.options = options
        self.statistics = LinkStatistics()
        self.random = random
        self._busy_until = 0.0

    def arrival(self, now: float, size_bytes: int) -> float:
        """Send something now and say when it arrives, if nothing bars the way."""
        departed = now
        if self.options.bytes_per_s is not None:
            departed = max(now, self._busy_until) + size_bytes / self.options.bytes_per_s
            self._busy_until = departed
        jitter_s = self.random.random() * self.options.jitter_s if self.options.jitter_s else 0.0
        return departed + self.options.delay_s + jitter_s
